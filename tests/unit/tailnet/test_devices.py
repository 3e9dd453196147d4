"""Who is on the tailnet and with which keys one gets in, held against a registry with two tenants."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.hosts import SHAPES
from mutx_infra.naming import host_name
from mutx_infra.records import TenantRecord, TenantState
from mutx_infra.tailnet.devices import Device, Expected, Key, expected, judge_devices, judge_keys
from mutx_infra.tenant import PLATFORM_ID, Tier
from tests.support.specs import a_spec, an_allocation

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALICE, ANN, BOB, EVE = "alice@mutx.dev", "ann@acme.example", "bob@acme.example", "eve@example.org"
AGENT = Device("n1", "acme-agent-1", "acme-agent-1.ts.net", "tagged-devices", ("tag:t-acme-agent",))
LAPTOP = Device("n9", "laptop", "laptop.ts.net", ANN)
KEY = Key("k1", tags=("tag:t-acme-agent",), created=NOW, expires=NOW + timedelta(minutes=10))


def a_record(tenant: str, state: TenantState = TenantState.CREATING, **fields: object) -> TenantRecord:
    spec = a_spec(tenant, **fields)
    return TenantRecord(
        spec=spec, allocation=an_allocation(spec), state=state, created_at=NOW, updated_at=NOW
    )


@pytest.fixture(scope="module")
def wanted() -> Expected:
    records = [
        a_record("acme", administrators=[ANN], clients=[BOB]),
        a_record("globex"),
        a_record(PLATFORM_ID, tier="platform"),
    ]
    return expected(records, Tailnet(operators=(ALICE,)))


def codes(wanted: Expected, *devices: Device) -> list[str]:
    return [each.code for each in judge_devices(devices, wanted)]


def test_every_host_but_a_database_s_is_expected_with_its_own_tag(wanted: Expected) -> None:
    assert {name: tag for name, tag in wanted.hosts.items() if name.startswith("acme")} == {
        f"acme-{role}-1": f"tag:t-acme-{role}" for role in ("agent", "guard", "mgmt", "vault")
    }
    of_platform = {name: tag for name, tag in wanted.hosts.items() if name.startswith(PLATFORM_ID)}
    roles = SHAPES[Tier.PLATFORM]
    assert set(of_platform) == {
        host_name(PLATFORM_ID, f"{role}-{number + 1}")
        for role in roles
        for number in range(roles[role].count)
    }
    assert all(tag.startswith("tag:mutx-") for tag in of_platform.values())


@pytest.mark.parametrize(
    "device",
    [
        AGENT, LAPTOP, replace(LAPTOP, user=ALICE), replace(LAPTOP, user=BOB),
        Device("n2", "runner-17", tags=("tag:mutx-converge",)),
        # The vendor turns key expiry off for what has tags.
        replace(AGENT, key_never_expires=True),
    ],
)  # fmt: skip
def test_who_should_be_there_is_no_finding(wanted: Expected, device: Device) -> None:
    assert codes(wanted, device) == []


@pytest.mark.parametrize(
    ("device", "code"),
    [
        (replace(AGENT, hostname="acme-agent-2"), "device-unknown"),
        (replace(AGENT, hostname="initech-agent-1", tags=("tag:t-initech-agent",)), "device-unknown"),
        (replace(AGENT, hostname="acme-database-1"), "device-unknown"),
        (replace(AGENT, tags=("tag:t-globex-agent",)), "device-tags-differ"),
        (replace(AGENT, tags=("tag:t-acme-agent", "tag:t-acme-vault")), "device-tags-differ"),
        (replace(AGENT, tags=("tag:t-acme-agent", "tag:mutx-converge")), "device-tags-differ"),
        (replace(AGENT, tags=("tag:t-acme-agent", "tag:t-globex-agent")), "device-of-two-tenants"),
        (replace(AGENT, hostname="x", tags=("tag:mutx-converge", "tag:other")), "device-unknown"),
        (replace(AGENT, tags=(), user=ANN), "device-without-tag"),
        (replace(LAPTOP, user=EVE), "device-of-stranger"),
        (replace(LAPTOP, user=""), "device-of-stranger"),
        (replace(LAPTOP, key_never_expires=True), "device-key-never-expires"),
        (replace(AGENT, is_authorized=False), "device-not-approved"),
        (replace(LAPTOP, user=EVE, is_external=True), "device-shared-in"),
    ],
)
def test_who_should_not_is_named(wanted: Expected, device: Device, code: str) -> None:
    found = list(judge_devices([device], wanted))

    assert [each.code for each in found] == [code]
    assert device.id in found[0].place


def test_two_devices_that_say_they_are_one_host_are_both_named(wanted: Expected) -> None:
    other = replace(AGENT, id="n7", name="acme-agent-1-1.ts.net")

    assert codes(wanted, AGENT, other, LAPTOP) == ["device-twice", "device-twice"]


def test_a_ready_tenant_s_hosts_are_missed() -> None:
    wanted = expected([a_record("acme", TenantState.READY), a_record("globex")], Tailnet())

    assert [(each.code, each.place) for each in judge_devices([AGENT], wanted)] == [
        ("device-missing", f"device acme-{role}-1") for role in ("guard", "mgmt", "vault")
    ]


@pytest.mark.parametrize(
    ("key", "codes"),
    [
        (KEY, []),
        (replace(KEY, is_reusable=True), ["key-reusable"]),
        (replace(KEY, expires=NOW + timedelta(days=1)), []),
        (replace(KEY, expires=NOW + timedelta(days=90)), ["key-lives-long"]),
        (replace(KEY, expires=None), ["key-never-expires"]),
        (replace(KEY, tags=()), ["key-without-tag"]),
        (replace(KEY, tags=("tag:t-acme-agent", "tag:t-globex-agent")), ["key-of-two-tenants"]),
        (replace(KEY, is_reusable=True, is_valid=False), []),
        (Key("k2", "client", scopes=("policy_file", "devices:core")), []),
        (Key("k2", "client", scopes=("all",)), ["key-scope-wide"]),
        (Key("k2", "federated", scopes=("all", "dns")), ["key-scope-wide"]),
        (Key("k2", "client", scopes=("all",), is_valid=False), []),
    ],
)
def test_a_key_that_is_good_for_too_much_is_named(key: Key, codes: list[str]) -> None:
    assert [each.code for each in judge_keys([key])] == codes
