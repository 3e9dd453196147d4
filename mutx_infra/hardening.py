"""Use cases for a tenant's hosts: list them, bring them up to the playbooks, look at every control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mutx_infra.access import entered_roles
from mutx_infra.changes import ChangeSet, Operation, ResourceChange
from mutx_infra.chronicle import Chronicle
from mutx_infra.environment import Environment
from mutx_infra.errors import OutsideError, RefusedError
from mutx_infra.evidence import Bundle, Check, Subject, Waiver, with_waivers
from mutx_infra.guard_hosts import guard_terms
from mutx_infra.host_records import Configured, HostOutcome, HostState
from mutx_infra.inventory import Inventory, InventoryHost, make_inventory
from mutx_infra.joining import Joining
from mutx_infra.leases import Leases
from mutx_infra.plan import TenantPlan, make_plan
from mutx_infra.ports import (
    Clock,
    EvidenceStore,
    HostAuditor,
    HostConfigurer,
    HostReporter,
    Journal,
    Registry,
    Reporter,
)
from mutx_infra.records import Owner, RunKind, RunRecord, StepState, TenantRecord
from mutx_infra.runs import closing
from mutx_infra.vault.hosts import VaultTerms

JOIN_WITHIN_S = 300.0
"""An instance that was just started boots, gets its identity and joins within this time."""

CLOSED = "nobody of the platform's enters this host since the tenant took over"
"""Why a control is unknown."""
HOST_KIND = "mutx:host:Host"
"""How the history calls a host whose configuration changed."""


class HostsFailedError(OutsideError):
    """Some hosts did not come through a run.

    Attributes:
        configured: what the run did on all of them.
    """

    def __init__(self, tenant: str, configured: Configured) -> None:
        failed = configured.failed
        super().__init__(
            f"{len(failed)} of {len(configured.hosts)} host(s) of {tenant} did not come through",
            code="hosts-failed",
            remedy=f"mend the cause, then `mutx-infra hosts harden {tenant} --failed` runs on these alone",
            detail="\n".join(map(_line, failed)),
        )
        self.configured = configured


@dataclass(frozen=True, slots=True)
class Audit:
    """What a look at the hosts gave, and where it was written."""

    bundle: Bundle
    path: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A tenant that stands: its record, plan and hosts."""

    record: TenantRecord
    plan: TenantPlan
    inventory: Inventory

    @property
    def open(self) -> tuple[InventoryHost, ...]:
        """The hosts that the converge account enters."""
        entered = entered_roles(self.plan.flows, handed_over=self.record.is_handed_over)
        return tuple(host for host in self.inventory.hosts if host.role in entered)

    @property
    def closed(self) -> tuple[InventoryHost, ...]:
        """The others: hand-over closed them."""
        return tuple(host for host in self.inventory.hosts if host not in self.open)


class HostCare:
    """Use cases over the ports.

    Args:
        joining: brings in hosts that have not joined yet.
        chronicle: writes down what a run changed.
        evidence: keeps what a look has shown.
        waivers: failures that are borne.
        is_alive: True or False for a process of this machine, None where it cannot be told.
        terms: what a tenant's hosts are told of its Vault; None where it has none.
    """

    def __init__(
        self,
        environment: Environment,
        registry: Registry,
        journal: Journal,
        joining: Joining,
        configurer: HostConfigurer,
        auditor: HostAuditor,
        chronicle: Chronicle,
        evidence: EvidenceStore,
        waivers: Sequence[Waiver],
        clock: Clock,
        owner: Owner,
        is_alive: Callable[[Owner], bool | None],
        terms: Callable[[TenantRecord], VaultTerms | None] = lambda _: None,
    ) -> None:
        self._environment, self._registry, self._journal = environment, registry, journal
        self._joining, self._terms = joining, terms
        self._configurer, self._auditor, self._chronicle = configurer, auditor, chronicle
        self._evidence, self._waivers, self._clock, self._owner = evidence, waivers, clock, owner
        self._leases = Leases(registry, configurer, owner, is_alive)

    def inventory(self, tenant: str, hosts: tuple[str, ...] = ()) -> Inventory:
        """Return the tenant's hosts, or the named ones.

        Raises:
            RefusedError: no such tenant or host, or its stack was never made.
        """
        return self._known(tenant, hosts).inventory

    def harden(
        self, tenant: str, report: HostReporter, *, hosts: tuple[str, ...] = (), failed_only: bool = False
    ) -> Configured:
        """Bring the hosts up to what the playbooks say; safe to run twice and to stop anywhere.

        Hosts that hand-over closed to the platform are left out, and the report says so.

        Args:
            tenant: its id.
            report: told of each host and task.
            hosts: names or keys; none means all.
            failed_only: the hosts that did not come through the last run, or were not reached by it.

        Raises:
            HostsFailedError: some did not come through; the others did.
            RefusedError: no such tenant or host; nothing failed the last time; no host can be entered any more
                (`hosts-handed-over`).
        """
        with self._leases.hold(tenant, "harden", report):
            named = (*hosts, *self._failed(tenant)) if failed_only else hosts
            known = self._entered(self._known(tenant, named), report)
            run = self._journal.begin(tenant, RunKind.HARDEN, known.plan.digest, self._owner)
            with (
                closing(self._journal, run),
                self._chronicle.writing(
                    run, known.record.spec, known.record.allocation, known.plan
                ) as written,
            ):
                for host in known.inventory.hosts:
                    self._journal.start_step(run.id, host.key)
                self._bring_in(known.inventory, report)
                done: list[str] = []
                with report.step("hosts", "bring hosts up to the playbooks", done):
                    configured = self._configurer.configure(known.inventory, report, check=False, diff=False)
                    done.append(configured.summary())
                    self._write_steps(run, known.inventory, configured)
                    written.changes = _as_changes(configured)
                    if configured.failed:
                        raise HostsFailedError(tenant, configured)
        return configured

    def preview(
        self, tenant: str, report: HostReporter, *, hosts: tuple[str, ...] = (), diff: bool = False
    ) -> Configured:
        """Say what `harden` would change; changes nothing.

        Raises:
            HostsFailedError: some hosts could not be looked at.
        """
        inventory = self._entered(self._known(tenant, hosts), report).inventory
        done: list[str] = []
        with report.step("hosts", "compare hosts with the playbooks", done):
            configured = self._configurer.configure(inventory, report, check=True, diff=diff)
            done.append(configured.summary())
            if configured.failed:
                raise HostsFailedError(tenant, configured)
        return configured

    def check(self, tenant: str, report: HostReporter, *, hosts: tuple[str, ...] = ()) -> Audit:
        """Look at the hosts and keep what was seen; a failure that is waived is none, if its waiver has not expired.

        Of hosts that nobody of the platform's enters any more, every control is unknown.
        """
        known = self._known(tenant, hosts)
        done: list[str] = []
        with report.step("check", "look at the hosts", done):
            started_at = self._clock.now()
            roles = {host.name: str(host.role) for host in known.inventory.hosts}
            checks = self._look(known, report)
            bundle = Bundle(
                subject=self._subject(known.plan),
                tools=self._auditor.tools(),
                started_at=started_at,
                ended_at=self._clock.now(),
                checks=with_waivers(checks, self._waivers, roles, started_at.date()),
            )
            path = self._evidence.keep(bundle)
            done.append(", ".join(f"{number} {verdict}" for verdict, number in bundle.counts.items()))
        return Audit(bundle, path)

    def _bring_in(self, inventory: Inventory, report: HostReporter) -> None:
        """Have the hosts joined, and those that lead to them."""
        keys = {host.key for host in inventory.hosts} | {host.target.jump for host in inventory.hosts}
        needed = [way for way in inventory.ways if way.key in keys]
        done: list[str] = []
        with report.step("join", "bring in hosts that have not joined", done):
            new = self._joining.bring_in(needed, JOIN_WITHIN_S)
            done.append(f"{len(new)} of {len(needed)} host(s) joined now, the others before")

    def _entered(self, known: _Known, report: Reporter) -> _Known:
        """Return the same without the hosts that hand-over closed.

        Raises:
            RefusedError: none is left (code `hosts-handed-over`).
        """
        if not known.closed:
            return known
        left_out = ", ".join(host.name for host in known.closed)
        if not known.open:
            raise RefusedError(
                f"hand-over closed the hosts of {known.plan.tenant} to the platform: {left_out}",
                code="hosts-handed-over",
                remedy="the tenant lets somebody in by a certificate of its own SSH authority, or keeps them up itself",
            )
        report.note(f"left out, since hand-over closed them to the platform: {left_out}")
        kept = tuple(host.name for host in known.open)
        return replace(known, inventory=known.inventory.only(kept))

    def _look(self, known: _Known, report: HostReporter) -> tuple[Check, ...]:
        checks: tuple[Check, ...] = ()
        if known.open:
            kept = tuple(host.name for host in known.open)
            checks = self._auditor.audit(known.inventory.only(kept), report)
        if known.closed:
            closed = tuple(host.name for host in known.closed)
            checks += self._auditor.unseen(known.inventory.only(closed), CLOSED)
        return checks

    def _known(self, tenant: str, hosts: tuple[str, ...]) -> _Known:
        record = self._registry.tenant(tenant)
        if record is None:
            raise RefusedError(
                f"there is no tenant {tenant} in environment {self._environment.name}",
                code="tenant-unknown",
                remedy="`mutx-infra tenant list` shows the tenants",
            )
        plan = make_plan(record.spec, record.allocation)
        return _Known(
            record,
            plan,
            make_inventory(
                plan,
                record.outputs,
                handed_over=record.is_handed_over,
                coordination=self._environment.tailnet.coordination,
                vault=self._terms(record),
                guard=guard_terms(
                    record.spec.guardrail,
                    is_production=not self._environment.is_loopback,
                    today=self._clock.now().date(),
                ),
            ).only(hosts),
        )

    def _failed(self, tenant: str) -> tuple[str, ...]:
        """Return the hosts that the last hardening run did not finish."""
        last = next((run for run in self._journal.runs(tenant) if run.kind is RunKind.HARDEN), None)
        failed = tuple(step.name for step in (last.steps if last else ()) if step.state is not StepState.DONE)
        if not failed:
            raise RefusedError(
                f"no host of {tenant} failed the last time" if last else f"{tenant} was never hardened",
                code="hosts-none-failed",
                remedy=f"run `mutx-infra hosts harden {tenant}` for all of them",
            )
        return failed

    def _write_steps(self, run: RunRecord, inventory: Inventory, configured: Configured) -> None:
        keys = {host.name: host.key for host in inventory.hosts}
        for outcome in configured.hosts:
            if outcome.is_done:
                detail = f"{len(outcome.changes)} of {outcome.tasks} tasks changed something"
                self._journal.finish_step(run.id, keys[outcome.host], detail)
            else:
                self._journal.fail_step(run.id, keys[outcome.host], _line(outcome))

    def _subject(self, plan: TenantPlan) -> Subject:
        return Subject(
            tenant=plan.tenant,
            environment=self._environment.name,
            endpoints={"aws": self._environment.aws.endpoint_url or f"AWS account {plan.account}"},
            is_production=not self._environment.is_loopback,
            plan_digest=plan.digest,
        )


def _as_changes(configured: Configured) -> ChangeSet:
    """Return what changed in the terms of the history: one resource a host, its fields the tasks that changed it."""
    return ChangeSet(
        changes=tuple(
            ResourceChange(
                operation=Operation.UPDATE,
                kind=HOST_KIND,
                name=outcome.host,
                fields=tuple(change.task for change in outcome.changes),
            )
            for outcome in configured.changed
        ),
        unchanged=len(configured.hosts) - len(configured.changed),
    )


def _line(outcome: HostOutcome) -> str:
    where = f" at {outcome.failed_task!r}" if outcome.failed_task else ""
    what = {HostState.UNREACHABLE: "did not answer", HostState.NOT_REACHED: "had no turn"}
    return f"{outcome.host} {what.get(outcome.state, 'failed')}{where}: {outcome.reason}".rstrip(": ")
