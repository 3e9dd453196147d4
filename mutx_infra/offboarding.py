"""The durable way out: keep a tenant's logs, delete all else, prove that only tombstones are left, free its block."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from mutx_infra.access import tailnet_roles
from mutx_infra.accounts import Accounts
from mutx_infra.archive import LogArchive, Manifest, life_of
from mutx_infra.changes import ChangeSet, Operation, ResourceChange
from mutx_infra.chronicle import Chronicle
from mutx_infra.environment import Environment
from mutx_infra.errors import RefusedError, VerificationError
from mutx_infra.flows import FLOWS, Role
from mutx_infra.history import History
from mutx_infra.hosts import KEY_DELETION_DAYS
from mutx_infra.leases import Leases
from mutx_infra.naming import host_name, joining_tag
from mutx_infra.plan import TenantPlan, make_plan
from mutx_infra.ports import Clock, Cloud, Journal, Registry, Reporter, Stacks, describe
from mutx_infra.records import (
    VAULT_KIND,
    Owner,
    RunKind,
    RunRecord,
    StepState,
    TenantRecord,
    TenantState,
    Tombstone,
)
from mutx_infra.runs import InsideStep, closing, journaled_step
from mutx_infra.tailnet_ports import TailnetDevices, TailnetKeeper
from mutx_infra.tenant import Tier
from mutx_infra.vault.attestation import ReceiptCheck, ShredProof, attest, needs_proof

QUIET = "quiet"
"""The step after whose end nothing of the tenant writes logs any more."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What outlives tenants, and how long to wait for what AWS delivers late.

    Attributes:
        history: None in a loopback profile without one, and so is `archive`.
        settle: from the end of the last host to the reading of its logs.
    """

    history: History | None
    archive: LogArchive | None
    settle: timedelta
    clock: Clock


@dataclass(frozen=True, slots=True)
class Destruction:
    """What a destroy has done, and what is left on purpose.

    Attributes:
        logs: what was kept of each log group; None where the environment keeps none.
    """

    changes: ChangeSet
    tombstones: tuple[Tombstone, ...]
    logs: tuple[Manifest, ...] | None


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
        keeping: Keeping,
        tailnet: TailnetDevices | None = None,
        keeper: TailnetKeeper | None = None,
        check_receipt: ReceiptCheck | None = None,
    ) -> None:
        self._environment, self._check_receipt = environment, check_receipt
        self._accounts, self._registry, self._journal = Accounts(environment, cloud), registry, journal
        self._cloud, self._stacks = cloud, stacks
        self._owner, self._leases, self._chronicle = owner, leases, chronicle
        self._keeping, self._tailnet, self._keeper = keeping, tailnet, keeper

    def destroy(self, record: TenantRecord, report: Reporter, proof: ShredProof) -> Destruction:
        """Keep the tenant's logs, delete everything, prove that nothing but tombstones is left, free its block.

        Raises:
            RefusedError: the tenant is the platform, the archive does not keep logs for long enough, or the tenant's
                Vault is its own and `proof` shows too little for it that it was shredded.
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
            self._accounts.require(record.allocation.account)
            record = self._attested(record, proof)
            if self._keeping.archive is not None:
                self._keeping.archive.require_retention(
                    max(group.retention_days for group in plan.log_groups)
                )
            if self._tailnet is not None:
                self._tailnet.left(_tags(plan))  # without a credential nothing is deleted at all
            self._registry.update(tenant, state=TenantState.DESTROYING)
            self._chronicle.close_interrupted(self._journal.last_run(tenant), record, plan)
            run = self._journal.begin(tenant, RunKind.DESTROY, plan.digest, self._owner)
            with closing(self._journal, run):
                changes, logs = self._delete(run, record, plan, report)
                # The history's last entry is a tombstone too: only now all of them are there.
                with self._step(run, "tombstones", "look at what is left on purpose", report) as done:
                    tombstones = self._tombstones(plan)
                    _require_no(plan.tenant, tuple(str(one) for one in tombstones if one.flaw))
                    done.append(f"{len(tombstones)} tombstones, each tagged with the day on which it goes")
                self._registry.remove(tenant)
            return Destruction(changes, tombstones, logs)

    def _attested(self, record: TenantRecord, proof: ShredProof) -> TenantRecord:
        """Take down what was shown for it that the tenant shredded its Vault, or since when nothing was."""
        if not needs_proof(record):
            return record
        assert record.vault is not None  # noqa: S101 - as `needs_proof` says
        assert self._check_receipt is not None  # noqa: S101 - wired wherever tenants have Vaults
        tenant, now = record.spec.id, self._keeping.clock.now()
        try:
            vault = attest(record, proof, self._check_receipt, self._environment.shred_notice, now)
        except RefusedError:
            if record.vault.shred_asked_at is None:
                self._registry.update(tenant, vault=record.vault.model_copy(update={"shred_asked_at": now}))
            raise
        return self._registry.update(tenant, vault=vault)

    def _delete(
        self, run: RunRecord, record: TenantRecord, plan: TenantPlan, report: Reporter
    ) -> tuple[ChangeSet, tuple[Manifest, ...] | None]:
        attested = _attestation(record)
        with self._chronicle.writing(run, record.spec, record.allocation, plan) as written:
            written.changes = ChangeSet(changes=attested)
            with self._step(run, "mark", "mark what outlives the tenant", report) as done:
                self._mark(plan)
                done.append(f"KMS keys go in {KEY_DELETION_DAYS} days")
            logs = None
            if self._keeping.archive is not None:
                with self._step(run, QUIET, "delete what writes logs", report) as done:
                    ended = self._stacks.end_writers(plan, report=report)
                    written.changes = ChangeSet(changes=(*attested, *ended.changes))
                    done.append(ended.summary())
                with self._step(run, "archive", "keep the logs", report) as done:
                    logs = self._keep_logs(self._keeping.archive, record, plan, report)
                    done.extend(f"{kept.group}: {kept.events} events" for kept in logs)
            else:
                report.note(f"this environment has no archive: the logs of {plan.tenant} are not kept")
            with self._step(run, "stack", "delete hosts, keys and network", report) as done:
                deleted = self._stacks.destroy(plan, report=report)
                written.changes = ChangeSet(changes=(*written.changes.changes, *deleted.changes))
                done.append(deleted.summary())
                # Outside the stack, and last: while a host lives, it may still answer there.
                if parameters := self._cloud.in_account(plan.account).clear_parameters(
                    plan.tenant, plan.region
                ):
                    done.append(f"{parameters} parameter(s) of its hosts deleted")
            if self._tailnet is not None:
                # The hosts are gone, so that none of them comes back.
                with self._step(run, "tailnet", "delete devices and revoke keys", report) as done:
                    done.append(
                        f"{self._tailnet.remove(_tags(plan))} devices and keys of the tailnet deleted"
                    )
            if self._keeper is not None:
                with self._step(run, "policy", "take the tenant out of the tailnet's policy", report) as done:
                    done.append(self._keeper.follow(InsideStep(report)))
            with self._step(run, "prove", "prove that nothing else is left", report) as done:
                flaws = [str(one) for one in self._tombstones(plan) if one.flaw]
                left = self._cloud.in_account(plan.account).residue(plan.tenant, plan.region)
                joined = self._tailnet.left(_tags(plan)) if self._tailnet is not None else ()
                _require_no(plan.tenant, (*left, *joined, *flaws))
                done.append("nothing is left in any service but what is left on purpose")
        return written.changes, logs

    def _keep_logs(
        self, archive: LogArchive, record: TenantRecord, plan: TenantPlan, report: Reporter
    ) -> tuple[Manifest, ...]:
        """Keep every log group that is still there; return what is kept of this tenant, by earlier runs too."""
        cloud, life = self._cloud.in_account(plan.account), life_of(record.created_at)
        groups = cloud.log_groups(plan.tenant, plan.region)
        if groups:
            self._settle(record)
        planned = {group.name: group for group in plan.log_groups}
        for name in groups:
            group = planned.get(name)
            blank = Manifest(
                tenant=plan.tenant,
                life=life,
                account=plan.account,
                region=plan.region,
                group=name,
                retention_days=group.retention_days if group else 0,
                control=group.control if group else "",
            )
            archive.keep(blank, partial(cloud.log_events, name, plan.region))
        archive.mark(plan.tenant)
        kept = tuple(one for one in archive.manifests(plan.tenant) if one.life == life)
        for name in sorted(planned.keys() - {one.group for one in kept}):
            report.note(f"the log group {name} was gone already: nothing of it is kept")
        return kept

    def _settle(self, record: TenantRecord) -> None:
        """Wait until what the hosts' last minutes wrote has been delivered, counted from the first time they ended."""
        ended = [
            step.ended_at
            for run in self._journal.runs(record.spec.id)
            if run.kind is RunKind.DESTROY and run.started_at >= record.created_at
            for step in run.steps
            if step.name == QUIET and step.state is StepState.DONE and step.ended_at is not None
        ]
        left = min(ended) + self._keeping.settle - self._keeping.clock.now()
        if left > timedelta():
            self._keeping.clock.sleep(left.total_seconds())

    def _mark(self, plan: TenantPlan) -> None:
        self._cloud.in_account(plan.account).mark_tombstones(plan.tenant, plan.region, days=KEY_DELETION_DAYS)
        if self._keeping.history is not None:
            self._keeping.history.mark(plan.tenant)

    def _tombstones(self, plan: TenantPlan) -> tuple[Tombstone, ...]:
        """Return all that is left of the tenant on purpose: keys and locked objects, as they are."""
        history, archive = self._keeping.history, self._keeping.archive
        return (
            *self._cloud.in_account(plan.account).tombstones(plan.tenant, plan.region),
            *(history.tombstones(plan.tenant) if history is not None else ()),
            *(archive.tombstones(plan.tenant) if archive is not None else ()),
        )

    def _step(
        self, run: RunRecord, name: str, title: str, report: Reporter
    ) -> AbstractContextManager[list[str]]:
        return journaled_step(self._journal, run, name, title, report)


def _attestation(record: TenantRecord) -> tuple[ResourceChange, ...]:
    """Return what is known of the Vault's end in the terms of the history."""
    if record.vault is None or not record.vault.attestation:
        return ()
    name = host_name(record.spec.id, str(Role.VAULT))
    return (
        ResourceChange(
            operation=Operation.DELETE, kind=VAULT_KIND, name=name, fields=(record.vault.attestation,)
        ),
    )


def _tags(plan: TenantPlan) -> tuple[str, ...]:
    """Return the tags that the tenant's hosts join the tailnet with."""
    return tuple(joining_tag(plan.tenant, role) for role in sorted(tailnet_roles(FLOWS)))


def _require_no(tenant: str, left: tuple[str, ...]) -> None:
    if left:
        raise VerificationError(
            f"{tenant} is not gone: {describe(left)}",
            code="residue-left",
            remedy=f"remove what is foreign to the stack, then run `mutx-infra tenant destroy {tenant}` again",
        )
