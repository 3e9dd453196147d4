"""A Vault as it comes up is looked at by the platform and handed over; one that somebody changed is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mutx_infra.adapters.hvac_vault import HvacVault
from mutx_infra.errors import RefusedError, VerificationError
from mutx_infra.records import TenantState
from mutx_infra.vault.handover import parse_handover
from mutx_infra.vault.layout import ONBOARDER
from mutx_infra.vault_ports import VaultAddress
from tests.support.byok import a_receipt
from tests.support.custody import CLIENTS, MACHINE_REQUEST, VaultYard
from tests.support.vault import RunningVault, running_vault


@pytest.fixture(scope="module")
def live() -> Iterator[RunningVault]:
    with running_vault() as running:
        yield running


@pytest.fixture
def yard(live: RunningVault, tmp_path: Path) -> VaultYard:
    def opened(address: VaultAddress) -> HvacVault:
        assert address.server_name == "acme-vault-1"
        return HvacVault(replace(address, server_name=None))  # the test's server is known by its address

    made = VaultYard(tmp_path, live.tenant_ca, live.platform_ca, live.server_ca, opened)
    made.hosts.url = live.url
    made.custody().collect_authorities("acme")
    return made


def test_what_came_up_as_published_is_handed_over_and_awaits_its_tenant(
    yard: VaultYard, live: RunningVault
) -> None:
    handed = yard.custody().hand_over("acme", yard.listener)

    written = parse_handover(Path(handed.path).read_text(), handed.path)
    assert written == handed.handover
    assert (written.url, written.server_name, written.seal) == ("https://acme-vault-1:8200", None, "static")
    assert written.digests == live.layout.digests()
    assert [machine.name for machine in written.machines if machine.request] == [*CLIENTS]
    assert (handed.waiting, handed.is_trial) == ((), True)
    assert yard.record.state is TenantState.AWAITING_CLAIM
    assert yard.vault.cluster == live.vault.open_read("sys/seal-status")["cluster_id"]  # type: ignore[index]
    assert "PRIVATE KEY" not in Path(handed.path).read_text()


def test_it_is_done_again_without_a_second_beginning(yard: VaultYard) -> None:
    del yard.hosts.files[CLIENTS[0], MACHINE_REQUEST]
    first = yard.custody().hand_over("acme", yard.listener)
    made = yard.vault
    yard.world.clock.sleep(60)

    second = yard.custody().hand_over("acme", yard.listener)

    (entry,) = yard.world.history.entries("acme")
    assert first.waiting == second.waiting == (CLIENTS[0],)
    assert yard.vault == made
    assert entry.changes.changes[0].fields == (f"cluster {made.cluster}",)


def test_what_is_handed_over_is_claimed_by_whoever_its_spec_names(yard: VaultYard) -> None:
    yard.custody().hand_over("acme", yard.listener)
    claim = a_receipt(yard.tenant_ca, yard.folder, "vault-claim", cluster=yard.vault.cluster)

    record = yard.custody().take_claim("acme", claim, yard.listener)

    assert (record.state, record.is_handed_over) == (TenantState.READY, True)


@pytest.mark.parametrize(
    ("path", "data", "named"),
    [
        (
            "sys/policies/acl/agent",
            {"policy": 'path "byok/*" { capabilities = ["read"] }'},
            "policy agent: differs",
        ),
        (
            "sys/policies/acl/back-door",
            {"policy": 'path "*" { capabilities = ["sudo"] }'},
            "policy back-door: extra",
        ),
        ("sys/mounts/side", {"type": "kv"}, "engine side/: kv, expected none"),
        ("sys/auth/userpass", {"type": "userpass"}, "login userpass: extra"),
    ],
    ids=["a policy", "another policy", "an engine", "a way to log in"],
)
def test_a_vault_that_somebody_changed_is_not_handed_over(
    yard: VaultYard, live: RunningVault, path: str, data: dict[str, str], named: str
) -> None:
    admin = live.as_admin()
    before = admin.read(path) if path.startswith("sys/policies") else None
    admin.write(path, data)
    try:
        with pytest.raises(VerificationError) as refused:
            yard.custody().hand_over("acme", yard.listener)
    finally:
        if before:
            admin.write(path, {"policy": before["policy"]})
        else:
            admin.delete(path)

    assert (refused.value.code, refused.value.detail) == ("vault-differs", named)
    assert yard.record.state is TenantState.READY
    assert yard.record.vault is None


def test_the_platform_s_certificate_opens_no_more_than_its_configuration(
    yard: VaultYard, live: RunningVault
) -> None:
    with yard.identity().shown(ONBOARDER, "acme") as shown:
        session = live.vault.login(shown, ONBOARDER)
        with pytest.raises(RefusedError) as refused:
            session.read("byok/data/shared/openai")
        session.end()

    assert refused.value.code == "vault-denied"


def test_a_certificate_for_another_tenant_opens_nothing(yard: VaultYard, live: RunningVault) -> None:
    with (
        yard.identity().shown(ONBOARDER, "globex") as shown,
        pytest.raises(RefusedError) as refused,
    ):
        live.vault.login(shown, ONBOARDER)

    assert refused.value.code == "vault-login"


def test_another_seal_than_the_spec_s_is_no_hand_over(yard: VaultYard) -> None:
    byok = yard.record.spec.byok
    assert byok is not None
    transit = {"type": "transit", "address": "https://vault.acme.example:8200", "key": "mutx"}
    sealed = type(byok).model_validate({"admin_ca": byok.admin_ca, "seal": transit})
    yard.world.registry.update("acme", spec=yard.record.spec.model_copy(update={"byok": sealed}))

    with pytest.raises(VerificationError) as refused:
        yard.custody().hand_over("acme", yard.listener)

    assert (refused.value.code, refused.value.detail) == ("vault-differs", "seal: static, not transit")
