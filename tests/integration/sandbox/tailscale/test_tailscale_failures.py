"""The stand-in for the tailscale provider on bad days: refusals, lost answers, an API that is busy or away."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.integration.sandbox.engine_client import CheckFailedError
from tests.support.tailscale import Reply, answering
from tests.support.tailscale_fake import API_KEY, Fault
from tests.support.tailscale_scenarios import (
    ACL,
    CASES,
    PREFERENCES,
    SETTINGS,
    WEBHOOK,
    Case,
    Server,
    engine_for,
    failure_of,
    goes_through_a_life,
    policy,
)

pytestmark = pytest.mark.integration

HOOK = CASES["webhook"].inputs


def test_an_error_says_title_status_and_what_the_api_says(engine_of, fake):
    fake.clients["reader"] = ("policy_file:read", "feature_settings")
    engine = engine_of(apiKey=None, oauthClientId="reader", oauthClientSecret="tskey-client-reader")

    refused = failure_of(lambda: engine.create(ACL, "policy", acl=policy()))

    assert refused == (
        "policy: Failed to set ACL: calling actor does not have enough permissions: needs scope policy_file (403)"
    )
    assert engine.create(SETTINGS, devicesApprovalOn=True).outputs["devicesApprovalOn"] is True
    assert fake.routes().count("POST oauth/token") == 1


def test_a_check_that_may_not_ask_says_so(engine_of, fake):
    fake.clients["none"] = ("dns",)
    engine = engine_of(apiKey=None, oauthClientId="none", oauthClientSecret="tskey-client-none")

    with pytest.raises(CheckFailedError) as caught:
        engine.check(ACL, "r", {"acl": policy()})

    assert "needs scope policy_file:read (403)" in caught.value.failures["acl"]


def test_too_many_requests_are_made_again_when_the_api_says(tailscale, fake):
    fake.faults.append(Fault("PATCH .*", 429, {"Retry-After": "1"}, times=2))

    tailscale.create(SETTINGS, devicesApprovalOn=True)

    assert fake.changes() == ["PATCH tailnet/-/settings"]
    assert fake.settings["devicesApprovalOn"] is True


def test_a_wait_longer_than_the_patience_is_not_begun(tailscale, fake):
    fake.faults.append(Fault("PATCH .*", 429, {"Retry-After": "3600"}))

    refused = failure_of(lambda: tailscale.create(SETTINGS, devicesApprovalOn=True))

    assert "Failed to update tailnet settings: a fault (429)" in refused


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("fault", [0, 503], ids=["the answer is lost", "503"])
def test_each_resource_is_made_once_when_the_first_try_goes_wrong(tailscale, server, fake, case: Case, fault):
    fake.faults.append(Fault("(POST|PUT|PATCH) .*(?<!validate)", fault))

    goes_through_a_life(tailscale, server, case)

    assert fake.faults[0].times == 0
    assert (fake.webhooks, fake.keys, fake.streams) == ({}, {}, {})


def test_a_policy_of_others_is_not_taken_for_one_whose_answer_was_lost(tailscale, server, fake):
    server.write_policy(policy(9999))
    fake.faults.append(Fault("POST tailnet/-/acl", 0))

    refused = failure_of(lambda: tailscale.create(ACL, acl=policy()))

    assert "overwrite_existing_content" in refused
    assert fake.policy == policy(9999)


def test_webhooks_that_are_alike_are_made_once_each_though_answers_are_lost(tailscale, fake):
    fake.faults.append(Fault("POST tailnet/-/webhooks", 0, times=3))

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: tailscale.create(WEBHOOK, **HOOK), range(6)))

    assert {each.id for each in made} == set(fake.webhooks)
    assert len(fake.webhooks) == 6
    assert all(fake.webhooks[each.id]["secret"] == each.outputs["secret"] for each in made)


def test_an_api_that_stays_away_fails_in_bounded_time(fake):
    with engine_for(Server("http://127.0.0.1:9", API_KEY), patience_s=1.0) as engine:
        refused = failure_of(lambda: engine.create(PREFERENCES, magicDns=True))

    assert "Failed to set DNS preferences: the API cannot be reached" in refused


def test_a_redirect_is_not_followed(fake, server):
    moved = Reply(302, {}, {"Location": f"{fake.url}/api/v2/tailnet/-/dns/preferences"})
    with (
        answering({"/api/v2/tailnet/-/dns/preferences": [moved]}) as script,
        engine_for(Server(script.url, API_KEY)) as engine,
    ):
        refused = failure_of(lambda: engine.create(PREFERENCES, magicDns=False))

    assert "the API redirects, which is not followed (302)" in refused
    assert fake.asked == []


def test_a_tailnet_that_is_not_there_is_an_error_and_no_absence(engine_of):
    engine = engine_of(tailnet="other.example")

    assert "tailnet not found (404)" in failure_of(lambda: engine.import_(SETTINGS, "x"))


def test_cancelling_ends_the_waiting(tailscale, fake):
    fake.faults.append(Fault("POST .*", 429, {"Retry-After": "15"}))
    later = threading.Timer(0.3, tailscale.cancel)
    later.start()

    with pytest.raises(grpc.RpcError) as caught:
        tailscale.create(PREFERENCES, magicDns=False)

    later.join()
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert fake.magic_dns is True
