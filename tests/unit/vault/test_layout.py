"""What a tenant's Vault holds when it comes up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutx_infra.adapters.vault_templates import policy_texts
from mutx_infra.errors import SettingsError, SpecError
from mutx_infra.vault.handover import Handover, Machine, parse_handover
from mutx_infra.vault.layout import (
    HOST_NAME,
    ONBOARDER,
    OPERATOR,
    TENANT_ADMIN,
    VaultLayout,
    first_requests,
    issuing_role,
    machine_role,
    make_layout,
    signing_role,
)
from mutx_infra.vault.server import LOOPBACK
from tests.support.authorities import make_authority

TENANT, PLATFORM = make_authority("tenant").pem, make_authority("platform").pem
ODD = ["*", "+", "agent-*", "a/b", "..", "", "-a", "a-", "A", "a.b", "a b", "a\n", "{{x}}", "a" * 64, "ä"]


def _layout(tenant: str = "acme", admin_ca: str = TENANT) -> VaultLayout:
    return make_layout(tenant, policy_texts(), admin_ca, PLATFORM, LOOPBACK)


def test_the_onboarder_s_role_is_made_last() -> None:
    name, path, _ = first_requests(_layout())[-1]

    assert (name, path) == (f"role-{ONBOARDER}", f"auth/cert/certs/{ONBOARDER}")


def test_no_engine_is_used_before_it_is_made() -> None:
    made: set[str] = set()
    for _, path, data in first_requests(_layout()):
        parent, _, name = path.partition("/")[2].partition("/")
        if path.startswith("sys/"):
            made |= {name if parent == "mounts" else f"auth/{name}" if parent == "auth" else ""}
        else:
            assert [engine for engine in made if engine and path.startswith(f"{engine}/")], path
        assert isinstance(data, dict)


def test_the_platform_logs_in_by_its_own_authority_for_one_tenant_from_the_host_itself() -> None:
    roles = {role.name: role for role in _layout().roles}

    assert set(roles) == {TENANT_ADMIN, ONBOARDER, OPERATOR}
    for name in (ONBOARDER, OPERATOR):
        assert roles[name].authority == PLATFORM
        assert roles[name].common_names == (f"{name}@acme",)
        assert roles[name].cidrs == ("127.0.0.1/32",)
        assert roles[name].policies == (name,)
    assert roles[TENANT_ADMIN].authority == TENANT


def test_no_login_gives_a_token_the_default_policy_or_more_than_a_day() -> None:
    for role in (*_layout().roles, machine_role("acme-agent-1", "10.0.0.4", is_agent=True)):
        settings = role.settings()

        assert settings["token_no_default_policy"] is True
        assert settings["token_ttl"] == "15m"
        assert settings["token_max_ttl"] in {"15m", "24h"}
        assert settings["token_type"] == "service"


def test_the_platform_s_authority_is_not_taken_for_the_tenant_s() -> None:
    with pytest.raises(SpecError) as refused:
        _layout(admin_ca="\n" + PLATFORM)

    assert refused.value.code == "byok-admin-ca-platform"


def test_digests_of_policies_are_the_same_for_all_tenants_and_those_of_roles_are_not() -> None:
    ours, theirs = _layout("acme").digests(), _layout("globex").digests()

    differing = {name for name in ours if ours[name] != theirs[name]}

    assert differing == {f"role {ONBOARDER}", f"role {OPERATOR}"}


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_could_stand_for_others_gets_no_role(name: str) -> None:
    for make in (
        lambda: machine_role(name, "10.0.0.4", is_agent=True),
        lambda: issuing_role(name),
        lambda: signing_role(name),
    ):
        with pytest.raises(ValueError, match="no host name"):
            make()


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("field", ["name", "key", "role"])
def test_a_hand_over_file_with_such_a_name_is_refused(name: str, field: str) -> None:
    machine = {"name": "acme-agent-1", "key": "agent-1", "role": "agent", "address": "10.0.0.4"}
    text = (
        _handover()
        .model_dump_json()
        .replace('"machines":[]', f'"machines":[{json.dumps({**machine, field: name})}]')
    )

    with pytest.raises(SettingsError) as refused:
        parse_handover(text, "acme.vault.json")

    assert refused.value.code == "handover-invalid"
    assert f"machines.0.{field}" in refused.value.message


def test_a_hand_over_file_is_read_as_it_was_written() -> None:
    machine = Machine(name="acme-agent-1", key="agent-1", role="agent", address="10.0.0.4")  # type: ignore[arg-type]
    written = _handover().model_copy(update={"machines": (machine,)})

    assert parse_handover(written.text(), "acme.vault.json") == written


@given(name=st.from_regex(HOST_NAME, fullmatch=True).filter(lambda name: len(name) <= 63))
def test_a_machine_s_certificates_name_itself_and_nothing_else(name: str) -> None:
    for role in (issuing_role(name), signing_role(name)):
        assert role["allowed_domains"] == [name]
        assert role["cn_validations"] == ["hostname"]
        assert role["not_after_bound"] == role["not_before_bound"] == "forbid"
        assert not [
            key
            for key, value in role.items()
            if key.startswith("allow_") and value is True and key != "allow_bare_domains"
        ]


def _handover() -> Handover:
    return Handover(
        tenant="acme", url="https://vault.acme.example:8200", authority=TENANT, admin_ca=TENANT, seal="transit",
        release="0.1.0", digests=_layout().digests(),
    )  # fmt: skip
