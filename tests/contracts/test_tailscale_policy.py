"""The policy file by Tailscale's API, against a server that answers as it was told."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from mutx_infra.adapters import tailscale_client
from mutx_infra.adapters.tailscale_login import API_KEY
from mutx_infra.adapters.tailscale_policy import TailscalePolicyFile
from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.errors import MutxInfraError, OutsideError, RefusedError, VerificationError
from mutx_infra.tailnet_ports import UNTOUCHED, LivePolicy
from tests.support.tailscale import Reply, Script, answering

ACL, VALIDATE = "/api/v2/tailnet/example.com/acl", "/api/v2/tailnet/example.com/acl/validate"
TEXT = '{"grants": [], "groups": {"group:ü": []}}'
FAILED = {
    "message": "test(s) failed",
    "data": [{"user": "ann@example.com", "errors": ['address "tag:a:22": want: Drop, got: Accept']}],
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailscale_client, "_PAUSE_S", 0)


@pytest.fixture
def script() -> Iterator[Script]:
    with answering({ACL: [Reply(body=TEXT, headers={"ETag": '"e1"'})], VALIDATE: [Reply(body="")]}) as script:
        yield script


@pytest.fixture
def file(script: Script) -> TailscalePolicyFile:
    return TailscalePolicyFile(Tailnet(name="example.com", api_url=script.url), {API_KEY: "tskey-api-k"})


def test_what_is_in_force_has_a_version(file: TailscalePolicyFile) -> None:
    assert file.live() == LivePolicy(TEXT, '"e1"')


def test_an_answer_without_a_version_is_not_tailscale_s(script: Script, file: TailscalePolicyFile) -> None:
    script.replies[ACL] = [Reply(body=TEXT)]

    with pytest.raises(OutsideError) as caught:
        file.live()

    assert caught.value.code == "tailscale-answer-invalid"


@pytest.mark.parametrize("body", ["", "{}"])
def test_a_policy_whose_tests_hold_is_fine(script: Script, file: TailscalePolicyFile, body: str) -> None:
    script.replies[VALIDATE] = [Reply(body=body)]

    file.validate(TEXT)

    assert [(each.method, each.body) for each in script.asked] == [("POST", TEXT)]


@pytest.mark.parametrize("status", [200, 400])
def test_a_policy_whose_tests_fail_is_refused_with_each(
    script: Script, file: TailscalePolicyFile, status: int
) -> None:
    script.replies[VALIDATE] = [Reply(status, FAILED)]

    with pytest.raises(VerificationError) as caught:
        file.validate(TEXT)

    assert caught.value.code == "tailnet-tests-fail"
    assert caught.value.detail == 'ann@example.com: address "tag:a:22": want: Drop, got: Accept'


@pytest.mark.parametrize(("seen", "sent"), [('"e1"', '"e1"'), (UNTOUCHED, '"ts-default"')])
def test_a_policy_is_replaced_on_the_condition_that_it_is_the_one_that_was_seen(
    script: Script, file: TailscalePolicyFile, seen: str, sent: str
) -> None:
    assert file.replace(TEXT, seen)

    (asked,) = script.asked
    assert (asked.method, asked.body, asked.condition) == ("POST", TEXT, sent)


def test_another_one_s_policy_stays(script: Script, file: TailscalePolicyFile) -> None:
    script.replies[ACL] = [Reply(412, {"message": "precondition failed, invalid old hash"})]

    assert not file.replace(TEXT, '"e1"')


def test_a_lost_answer_is_asked_for_again_and_looks_like_another_one_s(
    script: Script, file: TailscalePolicyFile
) -> None:
    # The writer then looks, finds its own policy, and is content.
    script.replies[ACL] = [Reply(502, "lost"), Reply(412, {"message": "precondition failed"})]

    assert not file.replace(TEXT, '"e1"')
    assert len(script.asked) == 2


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (Reply(400, FAILED), VerificationError, "tailnet-tests-fail"),
        (Reply(400, {"message": "line 3: unknown tag"}), VerificationError, "tailnet-tests-fail"),
        (Reply(401, {"message": "API token invalid"}), RefusedError, "tailscale-credentials"),
        (Reply(403, {"message": "not enough"}), RefusedError, "tailscale-denied"),
        (Reply(404, {"message": "tailnet not found"}), RefusedError, "tailnet-unknown"),
        (Reply(429, {"message": "slow down"}), OutsideError, "tailscale-busy"),
        (Reply(503, {"message": "later"}), OutsideError, "tailscale-failed"),
        (Reply(302, "", {"Location": "http://127.0.0.1:1/"}), OutsideError, "tailscale-failed"),
    ],
)
def test_what_is_not_written_says_why(
    script: Script, file: TailscalePolicyFile, reply: Reply, kind: type[MutxInfraError], code: str
) -> None:
    script.replies[ACL] = [reply]

    with pytest.raises(kind) as caught:
        file.replace(TEXT, '"e1"')

    assert caught.value.code == code


def test_who_may_only_read_is_told_the_scope(script: Script, file: TailscalePolicyFile) -> None:
    script.replies[ACL] = [Reply(403, {"message": "not enough"})]

    with pytest.raises(RefusedError) as caught:
        file.replace(TEXT, '"e1"')

    assert "`policy_file`" in caught.value.remedy


def test_no_credential_is_in_what_is_said(script: Script, file: TailscalePolicyFile) -> None:
    script.replies[ACL] = [Reply(401, {"message": "no"})]

    with pytest.raises(RefusedError) as caught:
        file.live()

    assert "tskey-api-k" not in json.dumps([str(caught.value), caught.value.detail, caught.value.remedy])
