"""What an administrator may write, and what is made of it: names, keys, requests, comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_infra.cli.vault_keys import age

from mutx_infra.adapters.vault_templates import policy_texts
from mutx_infra.adapters.x509 import read_request
from mutx_infra.byok import AwsKmsSeal, StaticSeal, TransitSeal
from mutx_infra.errors import MutxInfraError, RefusedError, UsageError
from mutx_infra.vault.claim import make_holders, ssh_role
from mutx_infra.vault.deposits import MAX_KEY_BYTES, check_key, make_place
from mutx_infra.vault.handover import Handover, parse_handover
from mutx_infra.vault.layout import CertificateRole, make_layout
from mutx_infra.vault.policies import PolicyDifference, apply_policies
from mutx_infra.vault.readback import Compared, role_digest
from mutx_infra.vault.server import LOOPBACK
from mutx_infra.vault.shredding import next_step
from mutx_infra.vault.tokens import revoke_tokens
from mutx_infra.vault_ports import PgpKey
from tests.support.authorities import make_authority

AGENTS = frozenset({"agent-1"})
ARN = "arn:aws:kms:eu-west-1:123456789012:key/1"


@pytest.mark.parametrize(
    ("provider", "agent", "path", "field"),
    [
        ("openai", "agent-1", "agents/agent-1/openai", "OPENAI_KEY"),
        ("anthropic", None, "shared/anthropic", "ANTHROPIC_KEY"),
        ("my-gateway-2", None, "shared/my-gateway-2", "MY_GATEWAY_2_KEY"),
    ],
)
def test_a_key_has_a_place_and_a_name(provider: str, agent: str | None, path: str, field: str) -> None:
    place = make_place(provider, agent, AGENTS)

    assert (place.path, place.field) == (path, field)


def test_a_guard_is_given_the_key_of_masks_under_its_own_name_and_no_provider_s() -> None:
    place = make_place("mask", "guard-1", AGENTS, {"guard-1": "acme-guard-1"})

    assert (place.path, str(place)) == ("hosts/acme-guard-1/mask", "mask of acme-guard-1")
    with pytest.raises(UsageError, match="no agent 'guard-1'"):
        make_place("openai", "guard-1", AGENTS, {"guard-1": "acme-guard-1"})


@given(st.text(max_size=80))
def test_no_name_leads_to_another_place(text: str) -> None:
    """Whatever is taken is one segment of a path, without wildcards, dots or escapes."""
    try:
        place = make_place(text, None, AGENTS)
    except UsageError:
        return
    assert place.path.split("/") == ["shared", text]
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@given(st.binary(max_size=200))
def test_a_key_is_taken_whole_or_refused_without_its_words(content: bytes) -> None:
    try:
        value = check_key(content).get_secret_value()
    except RefusedError:
        return
    assert content.removesuffix(b"\n").removesuffix(b"\r") == value.encode()
    assert value.isprintable()


def test_the_longest_key_is_taken() -> None:
    assert len(check_key(b"x" * MAX_KEY_BYTES + b"\n").get_secret_value()) == MAX_KEY_BYTES


def keys(number: int) -> list[PgpKey]:
    return [PgpKey(f"{i:040x}", f"holder {i}", "") for i in range(number)]


@pytest.mark.parametrize(("number", "threshold"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_most_shares_are_needed(number: int, threshold: int) -> None:
    assert make_holders(keys(number), None).threshold == threshold


@pytest.mark.parametrize(
    ("given_", "threshold"),
    [([], None), (keys(1), 2), (keys(3), 1), (keys(3), 4), ([*keys(2), *keys(1)], None), (keys(2), 0), (keys(1), -1)],
    ids=["none", "more", "one", "four", "twice", "zero", "negative"],
)  # fmt: skip
def test_holders_that_make_no_sense_are_refused(given_: list[PgpKey], threshold: int | None) -> None:
    with pytest.raises(UsageError) as caught:
        make_holders(given_, threshold)

    assert caught.value.code == "holders-invalid"


@pytest.mark.parametrize("name", ["root", "*", "a,root", "", "a b", "{{identity}}", "-x", "a\nb"])
def test_no_operator_is_root_or_several(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        ssh_role(["converge@acme", name])

    assert caught.value.code == "principal-invalid"


def live(role: CertificateRole, **changed: object) -> dict[str, Any]:
    """A role as the server shows it: times in seconds, addresses without `/32`, everything else empty."""
    seconds = {"15m": 900, "24h": 86400}
    return {
        **role.settings(),
        "token_ttl": seconds[role.ttl],
        "token_max_ttl": seconds[role.max_ttl],
        "token_bound_cidrs": [each.removesuffix("/32") for each in role.cidrs],
        "display_name": role.name,
        "allowed_names": None,
        "ocsp_enabled": False,
        "token_period": 0,
        **changed,
    }


LAYOUT = make_layout("acme", policy_texts(), make_authority("a").pem, make_authority("b").pem, LOOPBACK)


def test_a_role_as_it_is_shown_has_the_digest_that_was_handed_over() -> None:
    for role in LAYOUT.roles:
        assert role_digest(role.name, live(role)) == LAYOUT.digests()[f"role {role.name}"]


def test_a_role_as_hashicorp_s_server_shows_it_is_the_same() -> None:
    role = LAYOUT.roles[0]

    shown = live(role, ocsp_max_retries=4, ocsp_this_update_max_age=0)

    assert role_digest(role.name, shown) == LAYOUT.digests()[f"role {role.name}"]


@pytest.mark.parametrize(
    "changed",
    [
        {"token_policies": ["tenant-admin"]}, {"token_bound_cidrs": []}, {"token_max_ttl": 86400}, {"token_period": 60},
        {"allowed_names": ["x"]}, {"certificate": make_authority("c").pem}, {"token_no_default_policy": False},
        {"token_type": "batch"}, {"allowed_common_names": ["x"]}, {"what_nobody_knows_yet": True},
        {"ocsp_max_retries": 9},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_a_role_that_was_changed_in_any_way_has_another(changed: dict[str, object]) -> None:
    role = LAYOUT.roles[2]

    assert role_digest(role.name, live(role, **changed)) != LAYOUT.digests()[f"role {role.name}"]


def test_what_was_compared_has_a_word() -> None:
    said = [Compared("x", *pair).said for pair in (("1", "1"), ("1", "2"), ("1", None), (None, "1"))]

    assert said == ["same", "differs", "missing", "extra"]


@pytest.mark.parametrize(
    "text", ["", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"]
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_request(text)

    assert caught.value.code == "request-invalid"


class NoSession:
    """A session that must not be asked."""

    def read(self, path: str) -> Mapping[str, Any] | None:
        raise AssertionError(path)

    def write(self, path: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        raise AssertionError(path)

    def list(self, path: str) -> tuple[str, ...]:
        raise AssertionError(path)

    def delete(self, path: str) -> None:
        raise AssertionError(path)

    def end(self) -> None:
        raise AssertionError


class Tokens(NoSession):
    """A server whose tokens end by themselves once they were listed, save those that were not to."""

    def __init__(self, ending: set[str], lasting: set[str], denied: set[str]) -> None:
        self.ending, self.there, self.denied = ending, ending | lasting | denied, denied
        self.revoked: list[str] = []

    def list(self, path: str) -> tuple[str, ...]:
        return tuple(sorted(self.there))

    def write(self, path: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        accessor = data["accessor"]
        if accessor in self.ending | self.denied:
            self.there -= self.ending
            raise RefusedError("no", code="vault-denied", remedy="")
        if path == "auth/token/revoke-accessor":
            self.revoked.append(accessor)
            self.there.remove(accessor)
        return {"accessor": accessor, "meta": {"cert_name": "host"}}


def test_a_token_that_ends_meanwhile_is_no_failure() -> None:
    session = Tokens(ending={"a"}, lasting={"b", "c"}, denied=set())

    assert revoke_tokens(session, "host") == 2
    assert session.revoked == ["b", "c"]


def test_a_token_that_cannot_be_looked_at_is_not_passed_over() -> None:
    with pytest.raises(RefusedError):
        revoke_tokens(Tokens(ending=set(), lasting=set(), denied={"a"}), "host")


def test_a_policy_that_must_not_be_is_not_put_in_force() -> None:
    texts = {**policy_texts(), "agent": 'path "sys/policies/acl/*" { capabilities = ["update"] }'}

    with pytest.raises(RefusedError) as caught:
        apply_policies(NoSession(), texts)

    assert caught.value.code == "policy-lint"


def test_a_difference_is_shown_from_what_is_in_force_to_what_is_released() -> None:
    lines = PolicyDifference("agent", "a\nc\n", "a\nb\n").lines()

    assert lines[:2] == ["--- in force: agent", "+++ this release: agent"]
    assert lines[-2:] == ["-b", "+c"]


@pytest.mark.parametrize(
    ("seal", "said"),
    [
        (TransitSeal(type="transit", address="https://vault.acme.example", key="k"), "delete the key k of transit"),
        (AwsKmsSeal(type="awskms", key_arn=ARN), f"--region eu-west-1 --key-id {ARN}"),
        (StaticSeal(type="static"), "ends with the platform's"),
    ],
    ids=["transit", "awskms", "static"],
)  # fmt: skip
def test_the_tenant_is_told_what_is_left_to_do(seal: Any, said: str) -> None:
    handover = Handover(
        tenant="acme", url="https://10.0.1.9:8200", authority="", admin_ca=make_authority("a").pem, seal=seal.type,
        sealed_by=seal, release="1", digests={},
    )  # fmt: skip

    assert said in next_step(handover)
    assert parse_handover(handover.text(), "file") == handover
    assert seal.type in next_step(handover.model_copy(update={"sealed_by": None})) or seal.type == "static"


def test_no_error_of_the_administrators_repeats_a_key() -> None:
    secret = "sk-secret-words"
    for content in (f"{secret}\n{secret}", f" {secret}", f"{secret}\0", secret * 1000):
        with pytest.raises(MutxInfraError) as caught:
            check_key(content.encode())
        said = (caught.value.message, caught.value.remedy, caught.value.detail)
        assert not any(secret in each for each in said)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (86400 * 3, "3 d"), (-5, "0 s")],
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, said: str) -> None:
    assert age(timedelta(seconds=seconds)) == said
