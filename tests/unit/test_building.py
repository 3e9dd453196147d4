"""What follows the stack: hosts are hardened where the profile wants it, and a host that fails loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from mutx_infra.building import Built, bring_up_vault, with_hosts, with_vault
from mutx_infra.changes import ChangeSet
from mutx_infra.errors import VerificationError
from mutx_infra.hardening import HostCare
from mutx_infra.host_records import HostState
from mutx_infra.onboarding import Outcome
from mutx_infra.plan import make_plan
from mutx_infra.records import TenantRecord, TenantState
from mutx_infra.tenant import PLATFORM_ID
from mutx_infra.vault.custody import Custody
from mutx_infra.vault.handed_out import HandedOut
from mutx_infra.vault.handover import Handover
from tests.support.authorities import make_authority
from tests.support.byok import a_byok, a_vault
from tests.support.specs import a_spec
from tests.support.yard import Yard


@pytest.fixture
def yard() -> Yard:
    return Yard()


def an_outcome(yard: Yard, **spec: object) -> Outcome:
    record = yard.world.registry.tenant("acme")
    assert record is not None
    plan = make_plan(record.spec, record.allocation)
    changed = record.model_copy(update={"spec": record.spec.model_copy(update=spec)})
    return Outcome(changed, plan, ChangeSet(), 12)


def never() -> HostCare:
    raise AssertionError("nobody asked for the hosts")


def test_the_hosts_are_brought_up_once_their_stack_stands(yard: Yard) -> None:
    built = with_hosts(an_outcome(yard), yard.care, yard.listener)

    assert built.failure is None
    assert built.configured is not None
    assert len(built.configured.changed) == len(built.outcome.plan.hosts)
    assert yard.listener.steps == ["join", "hosts"]


@pytest.mark.parametrize(
    ("spec", "care"), [({}, None), ({"id": PLATFORM_ID}, never)], ids=["left alone", "platform"]
)
def test_hosts_that_are_left_alone_are_none_of_the_result(
    yard: Yard, spec: dict[str, object], care: Callable[[], HostCare] | None
) -> None:
    built = with_hosts(an_outcome(yard, **spec), care, yard.listener)

    assert (built.configured, built.failure, yard.hosts.runs) == (None, None, [])


def test_a_host_that_fails_leaves_the_outcome_of_the_stack_and_of_the_others(yard: Yard) -> None:
    yard.hosts.states = {"guard-1": HostState.UNREACHABLE}

    built = with_hosts(an_outcome(yard), yard.care, yard.listener)

    assert built.failure is not None
    assert "hosts harden acme --failed" in built.failure.remedy
    assert built.configured is not None
    assert [host.host for host in built.configured.failed] == ["acme-guard-1"]
    assert len(built.configured.changed) == len(built.outcome.plan.hosts) - 1


def test_the_hosts_of_a_tenant_that_took_over_are_left_alone_and_the_operator_is_told(yard: Yard) -> None:
    yard.world.registry.update("acme", vault=a_vault(handed_over_at=yard.world.clock.now()))

    built = with_hosts(an_outcome(yard), never, yard.listener)

    assert (built.configured, built.failure) == (None, None)
    assert [note for note in yard.listener.notes if "hand-over closed them" in note]


TENANT_CA = make_authority("acme administrators")
TRANSIT = {"type": "transit", "address": "https://vault.acme.example:8200", "key": "mutx"}


@dataclass
class Keeper:
    """What `building` asks of `Custody`, with what it was asked.

    Attributes:
        news: whether authorities are collected that the hosts were not told of.
        vaults: the Vault's hosts.
    """

    yard: Yard
    news: bool = True
    vaults: tuple[str, ...] = ("acme-vault-1",)
    differs: bool = False
    calls: list[str] = field(default_factory=list)

    def nodes(self, tenant: str) -> tuple[str, ...]:
        return self.vaults

    def clients(self, tenant: str) -> tuple[str, ...]:
        return ("acme-agent-1", "acme-guard-1")

    def collect_authorities(self, tenant: str) -> bool:
        self.calls.append(f"collect after {len(self.yard.hosts.runs)} run(s)")
        return self.news

    def hand_over(self, tenant: str, report: object) -> HandedOut:
        self.calls.append(f"hand over after {len(self.yard.hosts.runs)} run(s)")
        if self.differs:
            raise VerificationError("it is not as published", code="vault-differs", remedy="find out who")
        record = self.yard.world.registry.update(tenant, state=TenantState.AWAITING_CLAIM, vault=a_vault())
        handover = Handover(
            tenant=tenant, url="https://acme-vault-1:8200", authority=TENANT_CA.pem, admin_ca=TENANT_CA.pem,
            seal="static", release="0.1.0", digests={},
        )  # fmt: skip
        return HandedOut(handover, "/vault/acme.vault.json", (), record)

    def given(self) -> Custody:
        return self  # type: ignore[return-value]


def nobody() -> Custody:
    raise AssertionError("nobody asked for the Vault")


class TestVault:
    @pytest.fixture
    def brought(self, yard: Yard) -> Yard:
        yard.world.registry.update("acme", spec=a_spec(byok=a_byok(TENANT_CA)))
        return yard

    def with_hosts(self, yard: Yard) -> Built:
        return with_hosts(an_outcome(yard), yard.care, yard.listener)

    def record(self, yard: Yard) -> TenantRecord:
        found = yard.world.registry.tenant("acme")
        assert found is not None
        return found

    def test_a_create_ends_with_a_vault_that_awaits_its_tenant(self, brought: Yard) -> None:
        keeper = Keeper(brought)

        built = with_vault(self.with_hosts(brought), brought.care, keeper.given, brought.listener)

        assert built.handed is not None
        assert built.outcome.record.state is TenantState.AWAITING_CLAIM
        assert keeper.calls == ["collect after 1 run(s)", "hand over after 2 run(s)"]
        assert brought.hosts.runs[1] == (("agent-1", "guard-1"), False)

    def test_hosts_that_know_the_vault_already_are_not_worked_on_again(self, brought: Yard) -> None:
        keeper = Keeper(brought, news=False)

        with_vault(self.with_hosts(brought), brought.care, keeper.given, brought.listener)

        assert len(brought.hosts.runs) == 1

    def test_nodes_that_join_another_one_have_a_second_turn(self, brought: Yard) -> None:
        """Three nodes: two could not join before they were told by what the first is known."""
        keeper = Keeper(brought, vaults=("acme-mgmt-1", "acme-vault-1"))  # stands in for a second node
        brought.hosts.states = {"vault-1": HostState.FAILED}
        first = self.with_hosts(brought)
        brought.hosts.states = {}

        built = with_vault(first, brought.care, keeper.given, brought.listener)

        assert (built.failure, built.handed is not None) == (None, True)
        assert brought.hosts.runs[1:] == [(("mgmt-1", "vault-1"), False), (("agent-1", "guard-1"), False)]

    def test_a_host_that_fails_keeps_the_vault_from_being_handed_over(self, brought: Yard) -> None:
        brought.hosts.states = {"vault-1": HostState.FAILED}
        keeper = Keeper(brought)

        built = with_vault(self.with_hosts(brought), brought.care, keeper.given, brought.listener)

        assert built.failure is not None
        assert (built.handed, keeper.calls) == (None, [])

    def test_a_vault_that_differs_is_a_failure_of_the_create(self, brought: Yard) -> None:
        keeper = Keeper(brought, differs=True)

        built = with_vault(self.with_hosts(brought), brought.care, keeper.given, brought.listener)

        assert built.failure is not None
        assert (built.failure.code, built.handed) == ("vault-differs", None)
        assert self.record(brought).state is TenantState.READY

    def test_without_an_authority_in_the_profile_the_operator_is_told(self, brought: Yard) -> None:
        built = with_vault(self.with_hosts(brought), brought.care, None, brought.listener)

        assert built.handed is None
        assert [note for note in brought.listener.notes if "names no authority" in note]

    def test_a_key_in_the_tenant_s_vault_waits_for_its_token(self, brought: Yard) -> None:
        byok = {**a_byok(TENANT_CA), "seal": TRANSIT}
        brought.world.registry.update("acme", spec=a_spec(byok=byok))

        built = with_vault(self.with_hosts(brought), brought.care, nobody, brought.listener)

        assert built.handed is None
        assert [note for note in brought.listener.notes if "--seal-token-file" in note]

    @pytest.mark.parametrize("spec", [{}, {"byok": a_byok(TENANT_CA)}], ids=["brings nothing", "took over"])
    def test_a_tenant_without_a_vault_to_hand_over_is_left_alone(
        self, yard: Yard, spec: dict[str, object]
    ) -> None:
        built = self.with_hosts(yard)
        vault = a_vault(handed_over_at=yard.world.clock.now()) if spec else None
        yard.world.registry.update("acme", spec=a_spec(**spec), vault=vault)
        as_now = Built(an_outcome(yard), built.configured)

        assert with_vault(as_now, yard.care, nobody, yard.listener) == as_now

    def test_vault_init_works_on_the_vault_s_hosts_and_those_that_log_in_there(self, brought: Yard) -> None:
        keeper = Keeper(brought)

        handed = bring_up_vault("acme", brought.care(), keeper.given(), brought.listener)

        assert handed.record.state is TenantState.AWAITING_CLAIM
        assert brought.hosts.runs == [
            (("agent-1", "guard-1", "vault-1"), False), (("agent-1", "guard-1"), False),
        ]  # fmt: skip
