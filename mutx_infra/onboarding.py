"""The durable workflow: create and resume a tenant, in steps that are each safe to run twice.

A run takes a lease on the tenant, journals every step, and ends with a state that was observed. Whatever dies
halfway is found by the next run, which takes the lease over once the old owner is dead and goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from mutx_infra.accounts import Accounts, check_archive_stays
from mutx_infra.addressing import overlapping
from mutx_infra.allocation import Allocator
from mutx_infra.capacity import Shortage, require, shortages
from mutx_infra.changes import ChangeSet
from mutx_infra.chronicle import Chronicle
from mutx_infra.environment import Environment
from mutx_infra.errors import MutxInfraError, RefusedError, VerificationError
from mutx_infra.leases import Leases
from mutx_infra.offboarding import Destruction, Keeping, Offboarding
from mutx_infra.plan import TenantPlan, check_allocation, make_plan
from mutx_infra.ports import Cloud, Journal, Registry, Reporter, SpecFiles, Stacks
from mutx_infra.records import STANDING, Lease, Owner, RunKind, RunRecord, TenantRecord, TenantState
from mutx_infra.runs import InsideStep, closing, journaled_step
from mutx_infra.tailnet_ports import TailnetDevices, TailnetKeeper
from mutx_infra.tenant import TenantSpec
from mutx_infra.vault.attestation import NO_PROOF, ShredProof
from mutx_infra.vault.checks import NO_CHECKS, VaultChecks
from mutx_infra.verification import compare, count_facts

if TYPE_CHECKING:
    from mutx_infra.tailnet.difference import PolicyChange

SHORTEST_DIGEST = 8
"""Hex digits of a plan's digest that an operator must give at least."""

STEPS = {
    "preflight": "check the account and the live networks",
    "tailnet": "bring the tailnet's policy up to the registry",
    "stack": "bring network, keys and hosts up to the plan",
    "verify": "compare what is there with the plan",
}


@dataclass(frozen=True, slots=True)
class Preview:
    """What `create` would execute: the plan and its digest, and the changes it makes to what exists.

    Attributes:
        shortages: what the account or region lacks for a new tenant; `create` refuses until it is there.
        access: what changes in the tailnet's policy; None where the profile names no tailnet.
    """

    plan: TenantPlan
    changes: ChangeSet
    is_new: bool
    shortages: tuple[Shortage, ...] = ()
    access: PolicyChange | None = None

    @property
    def is_empty(self) -> bool:
        """True where `create` would change nothing."""
        return self.changes.is_empty and (self.access is None or self.access.is_empty)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a create has done."""

    record: TenantRecord
    plan: TenantPlan
    changes: ChangeSet
    facts_checked: int


class Onboarding:
    """Use cases over the ports.

    Args:
        chronicle: writes down what each update changed.
        keeping: what outlives tenants.
        tailnet: the hosts' devices; None where hosts have fixed addresses, or none.
        keeper: keeps the tailnet's policy; None where the profile names no tailnet.
        vaults: looks at what tenants bring for their Vaults, and at what they sign.
        is_alive: True or False for a process of this machine, None where it cannot be told.
    """

    def __init__(
        self,
        environment: Environment,
        registry: Registry,
        journal: Journal,
        cloud: Cloud,
        stacks: Stacks,
        owner: Owner,
        is_alive: Callable[[Owner], bool | None],
        chronicle: Chronicle,
        keeping: Keeping,
        tailnet: TailnetDevices | None = None,
        keeper: TailnetKeeper | None = None,
        vaults: VaultChecks = NO_CHECKS,
    ) -> None:
        self._chronicle, self._keeper, self._vaults = chronicle, keeper, vaults
        self._environment, self._registry, self._journal = environment, registry, journal
        self._cloud, self._stacks = cloud, stacks
        self._owner = owner
        self._allocator, self._accounts = Allocator(environment, cloud), Accounts(environment, cloud)
        self._leases = Leases(registry, stacks, owner, is_alive)
        self._offboarding = Offboarding(
            environment,
            registry,
            journal,
            cloud,
            stacks,
            owner,
            self._leases,
            chronicle,
            keeping,
            tailnet,
            keeper,
            vaults.receipt,
        )

    def preview(self, spec: TenantSpec, files: SpecFiles, *, refresh: bool) -> Preview:
        """Say what `create` would do; touches nothing, reserves nothing."""
        self._accounts.require(spec.account)
        self._accounts.require_archive(spec)
        record = self._registry.tenant(spec.id)
        self._vaults.require(spec, record)
        plan = self.plan_for(spec, files)
        self._accounts.require(plan.account)
        missing: tuple[Shortage, ...] = ()
        if record is None:
            missing = tuple(shortages(plan, self._cloud.in_account(plan.account).capacity(plan)))
        access = None if self._keeper is None else self._keeper.foresee(spec)
        return Preview(plan, self._stacks.preview(plan, refresh=refresh), record is None, missing, access)

    def create(
        self,
        spec: TenantSpec,
        files: SpecFiles,
        report: Reporter,
        *,
        refresh: bool,
        digest: str | None = None,
        replace: tuple[str, ...] = (),
        kind: RunKind = RunKind.CREATE,
    ) -> Outcome:
        """Create the tenant, or converge it where it exists.

        Args:
            spec: the tenant as it shall be.
            files: where its spec and lock file lie.
            report: told of each step.
            refresh: compare the engine's state with the cloud first, so that drift is seen.
            replace: names of what holds data and may be replaced all the same.
            kind: what the history calls it.
            digest: the previewed plan's digest, or at least its first 8 hex digits; another plan is refused.

        Raises:
            MutxInfraError: each says which command resumes.
        """
        with self._leases.hold(spec.id, "create", report):
            known = self._registry.tenant(spec.id)
            self._accounts.require(spec.account or (known.allocation.account if known else None))
            self._accounts.require_archive(spec)
            self._vaults.require(spec, known)
            if known is not None and known.state is TenantState.DESTROYING:
                raise RefusedError(
                    f"{spec.id} is being destroyed",
                    code="tenant-destroying",
                    remedy=f"finish with `mutx-infra tenant destroy {spec.id}`, then create it anew",
                )
            if known is None:
                _check_digest(digest, lambda: self.plan_for(spec, files))
            record = known or self._registry.reserve(
                spec, self._allocator.chooser(spec, files, self._registry.tenants())
            )
            locked = files.locked()
            if locked is not None and locked != record.allocation:
                raise RefusedError(
                    f"the lock file gives {spec.id} {locked.block} in {locked.region}, "
                    f"the registry {record.allocation.block} in {record.allocation.region}",
                    code="lock-differs",
                    remedy="restore the lock file of this environment, or delete it and run the same command again",
                )
            check_allocation(spec, record.allocation)
            check_archive_stays(spec, record)
            if known is None:
                self._accounts.require(record.allocation.account)
            plan = make_plan(spec, record.allocation)
            _check_digest(digest, lambda: plan)
            if record.state is TenantState.RESERVED:
                self._require_capacity(plan, is_new=known is None)
            files.lock(record.allocation, spec, plan.digest)
            return self._execute(spec, plan, report, refresh=refresh, replace=replace, kind=kind)

    def resume(self, tenant: str, report: Reporter) -> Outcome | None:
        """Finish whatever the tenant's last run left: a create or a destroy (then None is returned).

        Raises:
            RefusedError: the tenant is unknown.
        """
        record = self.require(tenant)
        if record.state is TenantState.DESTROYING:
            self.destroy(tenant, report)
            return None
        with self._leases.hold(tenant, "resume", report):
            self._accounts.require(record.allocation.account)
            self._accounts.require_archive(record.spec)
            plan = make_plan(record.spec, record.allocation)
            return self._execute(record.spec, plan, report, refresh=True)

    def destroy(self, tenant: str, report: Reporter, proof: ShredProof = NO_PROOF) -> Destruction:
        """Delete everything of a tenant, prove that nothing but tombstones is left, then free its block.

        Raises:
            RefusedError: the tenant is unknown, or is the platform; its Vault is its own, and its word is missing.
            VerificationError: something is left; the tenant stays registered.
        """
        return self._offboarding.destroy(self.require(tenant), report, proof)

    def plan_for(self, spec: TenantSpec, files: SpecFiles) -> TenantPlan:
        """Return the plan as of now, allocating nothing."""
        tenants = self._registry.tenants()
        for record in tenants:
            if record.spec.id == spec.id:
                return make_plan(spec, record.allocation)
        choose = self._allocator.chooser(spec, files, tenants)
        return make_plan(spec, choose(tuple(record.allocation.block for record in tenants)))

    def tenants(self) -> tuple[TenantRecord, ...]:
        """Return all tenants, by id."""
        return self._registry.tenants()

    def require(self, tenant: str) -> TenantRecord:
        """Return one tenant.

        Raises:
            RefusedError: there is no such tenant.
        """
        record = self._registry.tenant(tenant)
        if record is None:
            raise RefusedError(
                f"there is no tenant {tenant} in environment {self._environment.name}",
                code="tenant-unknown",
                remedy="`mutx-infra tenant list` shows the tenants; `mutx-infra tenant create -f FILE` makes one",
            )
        return record

    def last_run(self, tenant: str) -> RunRecord | None:
        """Return the newest run of a tenant, also of one that is gone."""
        return self._journal.last_run(tenant)

    def lease(self, tenant: str) -> Lease | None:
        """Return the lease on a tenant, if one is stored."""
        return self._registry.lease(tenant)

    def unlock(self, tenant: str) -> Lease | None:
        """Break the lease on a tenant and the lock on its state; returns the broken lease.

        Raises:
            RefusedError: neither a tenant nor a lease of that name exists.
        """
        lease, record = self._registry.lease(tenant), self._registry.tenant(tenant)
        if lease is None and record is None:
            self.require(tenant)
        if lease is not None:
            self._registry.break_lease(lease)
        if record is not None:
            self._stacks.unlock(make_plan(record.spec, record.allocation))
        return lease

    def _execute(
        self,
        spec: TenantSpec,
        plan: TenantPlan,
        report: Reporter,
        *,
        refresh: bool,
        replace: tuple[str, ...] = (),
        kind: RunKind = RunKind.CREATE,
    ) -> Outcome:
        was = self.require(spec.id)
        self._vaults.tell(spec, report)
        # A run that died is never trusted: its successor looks at the world first.
        must_refresh = refresh or was.state not in {*STANDING, TenantState.RESERVED}
        self._registry.update(
            spec.id, spec=spec, state=was.state if was.state in STANDING else TenantState.CREATING
        )
        self._chronicle.close_interrupted(self._journal.last_run(spec.id), was, plan)
        run = self._journal.begin(spec.id, kind, plan.digest, self._owner)
        try:
            with (
                closing(self._journal, run),
                self._chronicle.writing(run, spec, was.allocation, plan) as written,
            ):
                with journaled_step(self._journal, run, "preflight", STEPS["preflight"], report) as done:
                    self._check_block_is_free(plan)
                    done.append(f"{plan.block} is free in {plan.region}")
                if self._keeper is not None:
                    # Before any host: a key for a tag can be had only once the policy has the tag.
                    with journaled_step(self._journal, run, "tailnet", STEPS["tailnet"], report) as done:
                        done.append(self._keeper.follow(InsideStep(report)))
                with journaled_step(self._journal, run, "stack", STEPS["stack"], report) as done:
                    changes = self._stacks.apply(plan, refresh=must_refresh, report=report, replace=replace)
                    written.changes = changes
                    done.append(changes.summary())
                with journaled_step(self._journal, run, "verify", STEPS["verify"], report) as done:
                    checked = self._verify(plan)
                    done.append(f"{checked} facts agree with the plan")
        except (MutxInfraError, KeyboardInterrupt):
            self._registry.update(spec.id, state=TenantState.FAILED)
            raise
        outputs = self._stacks.outputs(spec.id) or was.outputs
        record = self._registry.update(spec.id, state=was.standing, plan_digest=plan.digest, outputs=outputs)
        return Outcome(record, plan, changes, checked)

    def _require_capacity(self, plan: TenantPlan, *, is_new: bool) -> None:
        """Refuse what the account cannot hold before anything is made, and give a new tenant's block back."""
        try:
            require(plan, self._cloud.in_account(plan.account).capacity(plan))
        except MutxInfraError:
            if is_new:
                self._registry.remove(plan.tenant)
            raise

    def _check_block_is_free(self, plan: TenantPlan) -> None:
        block = IPv4Network(plan.block)
        other = overlapping(
            block, self._cloud.in_account(plan.account).blocks_in_use(plan.region, besides=plan.tenant)
        )
        if other is not None:
            raise RefusedError(
                f"{plan.tenant}'s {block} overlaps the live VPC {other}, which is not this tenant's",
                code="block-taken",
                remedy="remove that VPC, or destroy this tenant and create it anew with a free block",
            )

    def _verify(self, plan: TenantPlan) -> int:
        facts = self._cloud.in_account(plan.account).observe(plan)
        findings = compare(plan, facts)
        if findings:
            raise VerificationError(
                f"the live {plan.tenant} differs from its plan in {len(findings)} place(s)",
                code="verification-failed",
                remedy="run `mutx-infra tenant create` again to repair what the plan holds; "
                "what the plan does not hold, remove by hand or add to the spec",
                detail="\n".join(map(str, findings[:20])),
            )
        return count_facts(facts)


def _check_digest(wanted: str | None, plan: Callable[[], TenantPlan]) -> None:
    if wanted is None:
        return
    short = wanted.removeprefix("sha256:")
    actual = plan().digest
    if len(short) < SHORTEST_DIGEST or not actual.removeprefix("sha256:").startswith(short):
        raise RefusedError(
            f"the plan has changed since it was previewed: it is now {actual}",
            code="plan-changed",
            remedy="run `mutx-infra tenant preview` again and pass the digest that it shows",
        )
