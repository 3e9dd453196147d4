"""The durable way out: delete everything of a tenant, prove that nothing but tombstones is left, free its block."""

from __future__ import annotations

from dataclasses import dataclass

from mutx_infra.accounts import check_account
from mutx_infra.changes import ChangeSet
from mutx_infra.chronicle import Chronicle
from mutx_infra.environment import Environment
from mutx_infra.errors import RefusedError, VerificationError
from mutx_infra.hosts import KEY_DELETION_DAYS
from mutx_infra.leases import Leases
from mutx_infra.plan import TenantPlan, make_plan
from mutx_infra.ports import Cloud, Journal, Registry, Reporter, Stacks, describe
from mutx_infra.records import Owner, RunKind, TenantRecord, TenantState, Tombstone
from mutx_infra.runs import closing, journaled_step
from mutx_infra.tenant import Tier


@dataclass(frozen=True, slots=True)
class Destruction:
    """What a destroy has done, and what is left on purpose."""

    changes: ChangeSet
    tombstones: tuple[Tombstone, ...]


class Offboarding:
    """The use case over the ports; see `Onboarding` for what they are."""

    def __init__(
        self,
        environment: Environment,
        registry: Registry,
        journal: Journal,
        cloud: Cloud,
        stacks: Stacks,
        owner: Owner,
        leases: Leases,
        chronicle: Chronicle,
    ) -> None:
        self._environment, self._registry, self._journal = environment, registry, journal
        self._cloud, self._stacks = cloud, stacks
        self._owner, self._leases, self._chronicle = owner, leases, chronicle

    def destroy(self, record: TenantRecord, report: Reporter) -> Destruction:
        """Delete everything of a tenant, prove that nothing but tombstones is left, then free its block.

        Raises:
            RefusedError: the tenant is the platform.
            VerificationError: something is left; the tenant stays registered.
        """
        tenant = record.spec.id
        if record.spec.tier is Tier.PLATFORM:
            raise RefusedError(
                "the platform is not destroyed: what it keeps must outlive it",
                code="platform-stays",
                remedy="destroy its tenants; what is left of it is taken down by hand, once its locks have run out",
            )
        plan = make_plan(record.spec, record.allocation)
        with self._leases.hold(tenant, "destroy", report):
            check_account(self._environment, self._cloud, record.allocation.account)
            self._registry.update(tenant, state=TenantState.DESTROYING)
            self._chronicle.close_interrupted(self._journal.last_run(tenant), record, plan)
            run = self._journal.begin(tenant, RunKind.DESTROY, plan.digest, self._owner)
            with (
                closing(self._journal, run),
                self._chronicle.writing(run, record.spec, record.allocation, plan) as written,
            ):
                with journaled_step(
                    self._journal, run, "mark", "mark what outlives the tenant", report
                ) as done:
                    self._cloud.in_account(plan.account).mark_tombstones(
                        tenant, plan.region, days=KEY_DELETION_DAYS
                    )
                    done.append(f"KMS keys go in {KEY_DELETION_DAYS} days")
                with journaled_step(
                    self._journal, run, "stack", "delete hosts, keys and network", report
                ) as done:
                    changes = self._stacks.destroy(plan, report=report)
                    written.changes = changes
                    done.append(changes.summary())
                with journaled_step(
                    self._journal, run, "prove", "prove that nothing else is left", report
                ) as done:
                    tombstones = self._prove_gone(plan)
                    done.append(
                        f"nothing is left in any service but {len(tombstones)} key(s) on their way out"
                    )
                self._registry.remove(tenant)
            return Destruction(changes, tombstones)

    def _prove_gone(self, plan: TenantPlan) -> tuple[Tombstone, ...]:
        """Return the tombstones, once there is nothing else and each says when it goes."""
        cloud = self._cloud.in_account(plan.account)
        tombstones = cloud.tombstones(plan.tenant, plan.region)
        living = [str(one) for one in tombstones if not one.is_going or one.retained_until is None]
        left = (*cloud.residue(plan.tenant, plan.region), *living)
        if left:
            raise VerificationError(
                f"{plan.tenant} is not gone: {describe(left)}",
                code="residue-left",
                remedy=f"remove what is foreign to the stack, then run `mutx-infra tenant destroy {plan.tenant}` again",
            )
        return tombstones
