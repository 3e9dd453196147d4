"""A tenant that brings its own: what a create asks of it, in which state it stands, and what a destroy asks for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mutx_infra.adapters.x509 import check_receipt
from mutx_infra.errors import MutxInfraError, OutsideError, RefusedError, SpecError
from mutx_infra.history import Entry
from mutx_infra.records import TenantRecord, TenantState, VaultRecord
from mutx_infra.tailnet.policy import read_policy
from mutx_infra.vault.attestation import NO_PROOF, ShredProof
from mutx_infra.vault.checks import VaultChecks
from tests.support.authorities import Authority, make_authority
from tests.support.byok import CLUSTER, a_byok, a_receipt, a_vault
from tests.support.specs import a_plan, a_spec
from tests.support.tailnet_memory import MemoryKeeper
from tests.support.world import Listener, MemoryFiles, World, a_world

WEAK = SpecError("it has a weak key", code="byok-key-weak", remedy="ask the tenant")
NOTICE = timedelta(days=30)


@pytest.fixture(scope="module")
def tenant_ca() -> Authority:
    return make_authority("acme administrators")


@pytest.fixture
def heard() -> Listener:
    return Listener()


@pytest.fixture
def world() -> World:
    made = a_world()
    made.vaults = VaultChecks(receipt=check_receipt)
    return made


def create(world: World, heard: Listener, **spec: object) -> TenantRecord:
    return world.onboarding().create(a_spec(**spec), MemoryFiles(), heard, refresh=False).record


def record_of(world: World) -> TenantRecord:
    record = world.registry.tenant("acme")
    assert record is not None
    return record


def last_entry(world: World) -> Entry:
    entry = world.history.last("acme")
    assert entry is not None
    return entry


def refusal(world: World, heard: Listener, proof: ShredProof = NO_PROOF) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        world.onboarding().destroy("acme", heard, proof)
    return refused.value


class TestCreate:
    def test_a_tenant_that_brings_nothing_is_made_and_the_operator_is_told_what_it_lacks(
        self, world: World, heard: Listener
    ) -> None:
        create(world, heard)

        assert record_of(world).state is TenantState.READY
        assert [note for note in heard.notes if "acme has no Vault" in note]

    def test_what_a_tenant_brings_changes_no_plan(self, tenant_ca: Authority) -> None:
        assert a_plan(byok=a_byok(tenant_ca)).digest == a_plan().digest

    def test_an_authority_of_no_use_is_refused_before_anything_is_reserved(
        self, world: World, heard: Listener, tenant_ca: Authority
    ) -> None:
        def refuse(_pem: str) -> None:
            raise WEAK

        world.vaults = VaultChecks(authority=refuse)

        spec, onboarding = a_spec(byok=a_byok(tenant_ca)), world.onboarding()

        with pytest.raises(SpecError, match="weak key"):
            onboarding.preview(spec, MemoryFiles(), refresh=False)
        with pytest.raises(SpecError, match="weak key"):
            onboarding.create(spec, MemoryFiles(), heard, refresh=False)
        assert world.registry.tenants() == ()

    def test_a_tenant_may_bring_its_own_later(
        self, world: World, heard: Listener, tenant_ca: Authority
    ) -> None:
        create(world, heard)

        create(world, heard, byok=a_byok(tenant_ca))

        assert record_of(world).spec.byok is not None

    def test_a_create_of_a_tenant_that_is_awaited_leaves_it_awaited(
        self, world: World, heard: Listener, tenant_ca: Authority
    ) -> None:
        create(world, heard, byok=a_byok(tenant_ca))
        world.registry.update("acme", state=TenantState.AWAITING_CLAIM, vault=a_vault())
        calls = len(world.stacks.calls)

        again = create(world, heard, byok=a_byok(tenant_ca))

        assert again.state is TenantState.AWAITING_CLAIM
        assert world.stacks.calls[calls:] == [("apply", False)]

    def test_after_a_create_that_failed_it_is_awaited_again(
        self, world: World, heard: Listener, tenant_ca: Authority
    ) -> None:
        create(world, heard, byok=a_byok(tenant_ca))
        world.registry.update("acme", state=TenantState.AWAITING_CLAIM, vault=a_vault())
        world.stacks.fails.append(OutsideError("AWS is down", code="aws-unreachable", remedy="wait"))
        with pytest.raises(OutsideError):
            create(world, heard, byok=a_byok(tenant_ca))
        failed = record_of(world).state

        again = create(world, heard, byok=a_byok(tenant_ca))

        assert (failed, again.state) == (TenantState.FAILED, TenantState.AWAITING_CLAIM)

    @pytest.mark.parametrize("is_left_out", [False, True], ids=["another", "none"])
    def test_once_a_vault_trusts_it_what_a_tenant_brings_stays(
        self, world: World, heard: Listener, tenant_ca: Authority, is_left_out: bool
    ) -> None:
        create(world, heard, byok=a_byok(tenant_ca))
        world.registry.update("acme", vault=a_vault())
        other = {} if is_left_out else {"byok": a_byok(make_authority("somebody else"))}

        with pytest.raises(SpecError) as refused:
            create(world, heard, **other)

        assert refused.value.code == "spec-byok-fixed"

    def test_an_authority_that_has_ended_since_keeps_nobody_from_converging(
        self, world: World, heard: Listener, tenant_ca: Authority
    ) -> None:
        create(world, heard, byok=a_byok(tenant_ca))
        world.registry.update("acme", vault=a_vault())

        def refuse(_pem: str) -> None:
            raise WEAK

        world.vaults = VaultChecks(authority=refuse)

        assert create(world, heard, byok=a_byok(tenant_ca)).standing is TenantState.AWAITING_CLAIM


class TestTailnet:
    def test_hand_over_takes_the_platform_s_people_and_its_converge_account_off_the_policy(
        self, world: World, heard: Listener, tenant_ca: Authority
    ) -> None:
        world.keeper = keeper = MemoryKeeper(world.registry)
        create(world, heard, byok=a_byok(tenant_ca))
        before = keeper.in_force[-1]

        claimed = a_vault(handed_over_at=world.clock.now())
        world.registry.update("acme", vault=claimed)
        create(world, heard, byok=a_byok(tenant_ca))

        assert _ways_in(before) == {"tag:t-acme-agent", "tag:t-acme-guard", "tag:t-acme-mgmt"}
        assert _ways_in(keeper.in_force[-1]) == set()

    def test_a_preview_of_a_handed_over_tenant_gives_nothing_back(
        self, world: World, heard: Listener, tenant_ca: Authority
    ) -> None:
        world.keeper = MemoryKeeper(world.registry)
        create(world, heard, byok=a_byok(tenant_ca))
        world.registry.update("acme", vault=a_vault(handed_over_at=world.clock.now()))

        seen = world.onboarding().preview(a_spec(byok=a_byok(tenant_ca)), MemoryFiles(), refresh=False)

        assert seen.access is not None
        assert seen.access.is_empty


def _ways_in(policy: str) -> set[str]:
    """The destinations of a tenant that anybody of the platform's reaches by SSH."""
    return {
        target
        for grant in read_policy(policy).grants
        for target in grant.destinations
        if "tcp:22" in grant.ip and target.startswith("tag:t-acme")
    }


class TestDestroy:
    @pytest.fixture
    def claimed(self, world: World, heard: Listener, tenant_ca: Authority) -> World:
        create(world, heard, byok=a_byok(tenant_ca))
        world.registry.update("acme", vault=a_vault(handed_over_at=world.clock.now()))
        return world

    def test_a_vault_that_nobody_claimed_is_destroyed_like_anything_else(
        self, world: World, heard: Listener, tenant_ca: Authority
    ) -> None:
        create(world, heard, byok=a_byok(tenant_ca))
        world.registry.update("acme", state=TenantState.AWAITING_CLAIM, vault=a_vault())

        world.onboarding().destroy("acme", heard)

        assert world.registry.tenants() == ()

    def test_without_the_tenant_s_word_nothing_is_deleted_and_the_notice_begins(
        self, claimed: World, heard: Listener
    ) -> None:
        refused = refusal(claimed, heard)

        assert refused.code == "shred-receipt-missing"
        assert "2026-02-01 03:04 UTC" in refused.remedy
        assert [call for call in claimed.stacks.calls if call[0] == "destroy"] == []
        assert record_of(claimed).state is TenantState.READY
        assert record_of(claimed).vault == a_vault(
            handed_over_at=claimed.clock.now(), shred_asked_at=claimed.clock.now()
        )

    def test_a_later_refusal_does_not_begin_the_notice_anew(self, claimed: World, heard: Listener) -> None:
        refusal(claimed, heard)
        begun = record_of(claimed).vault
        claimed.clock.sleep(3600)

        refusal(claimed, heard)

        assert record_of(claimed).vault == begun

    def test_with_the_tenant_s_receipt_it_goes_and_the_history_says_who_said_so(
        self, claimed: World, heard: Listener, tenant_ca: Authority, tmp_path: Path
    ) -> None:
        done = claimed.onboarding().destroy(
            "acme", heard, ShredProof(a_receipt(tenant_ca, tmp_path, "vault-shred"))
        )

        assert claimed.registry.tenants() == ()
        (vault,) = [
            change for change in last_entry(claimed).changes.changes if change.kind == "mutx:vault:Vault"
        ]
        assert vault.fields[0].startswith("shredded by its tenant at ")
        assert vault in done.changes.changes

    def test_a_claim_is_no_shredding(
        self, claimed: World, heard: Listener, tenant_ca: Authority, tmp_path: Path
    ) -> None:
        claim = a_receipt(tenant_ca, tmp_path, "vault-claim")

        assert refusal(claimed, heard, ShredProof(claim)).code == "receipt-other"

    def test_a_receipt_by_somebody_else_s_authority_is_refused(
        self, claimed: World, heard: Listener, tmp_path: Path
    ) -> None:
        forged = a_receipt(make_authority("the platform"), tmp_path, "vault-shred")

        assert refusal(claimed, heard, ShredProof(forged)).code == "receipt-signer"

    def test_a_receipt_of_an_earlier_life_is_refused(
        self, claimed: World, heard: Listener, tenant_ca: Authority, tmp_path: Path
    ) -> None:
        earlier = a_receipt(tenant_ca, tmp_path, "vault-shred", cluster="another")

        refused = refusal(claimed, heard, ShredProof(earlier))

        assert (refused.code, CLUSTER in refused.message) == ("receipt-cluster", True)

    def test_unattested_is_no_way_out_before_the_notice_has_run(
        self, claimed: World, heard: Listener
    ) -> None:
        first = refusal(claimed, heard, ShredProof(is_unattested=True))
        claimed.clock.sleep((NOTICE - timedelta(seconds=1)).total_seconds())

        second = refusal(claimed, heard, ShredProof(is_unattested=True))

        assert {first.code, second.code} == {"shred-receipt-missing"}

    def test_after_the_notice_it_goes_and_the_history_says_that_nobody_attested_it(
        self, claimed: World, heard: Listener
    ) -> None:
        refusal(claimed, heard)
        claimed.clock.sleep(NOTICE.total_seconds())

        assert refusal(claimed, heard).code == "shred-receipt-missing"
        claimed.onboarding().destroy("acme", heard, ShredProof(is_unattested=True))

        assert claimed.registry.tenants() == ()
        (vault,) = [
            change for change in last_entry(claimed).changes.changes if change.kind == "mutx:vault:Vault"
        ]
        assert vault.fields == ("unattested: no receipt since 2026-01-02T03:04:05+00:00",)

    def test_a_destroy_that_was_interrupted_does_not_ask_again(
        self, claimed: World, heard: Listener, tenant_ca: Authority, tmp_path: Path
    ) -> None:
        claimed.stacks.fails.append(OutsideError("AWS is down", code="aws-unreachable", remedy="wait"))
        with pytest.raises(MutxInfraError):
            claimed.onboarding().destroy(
                "acme", heard, ShredProof(a_receipt(tenant_ca, tmp_path, "vault-shred"))
            )
        assert isinstance(record_of(claimed).vault, VaultRecord)

        claimed.onboarding().resume("acme", heard)

        assert claimed.registry.tenants() == ()
