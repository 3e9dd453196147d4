"""What the use cases need from the outside; adapters implement it, fakes in the tests keep its contracts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from ipaddress import IPv4Network
from typing import Any, Protocol

from mutx_infra.capacity import Capacity
from mutx_infra.changes import ChangeSet
from mutx_infra.evidence import Bundle, Check
from mutx_infra.host_records import Configured
from mutx_infra.inventory import Inventory
from mutx_infra.plan import Allocation, TenantPlan
from mutx_infra.records import (
    ChainHead,
    Lease,
    LogEvent,
    Owner,
    RunKind,
    RunRecord,
    StoredObject,
    TenantRecord,
    TenantState,
    Tombstone,
    VaultRecord,
)
from mutx_infra.tenant import TenantSpec
from mutx_infra.verification import TenantFacts

SHOWN_RESIDUE = 10


class Clock(Protocol):
    """Time, so that tests own it."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Registry(Protocol):
    """Tenants, their blocks and the leases on them; shared by every process that works on an environment.

    Every method is atomic. Adapters raise `OutsideError` (code `registry-unavailable`) when the store cannot
    be reached or stays locked.
    """

    def reserve(
        self, spec: TenantSpec, choose: Callable[[tuple[IPv4Network, ...]], Allocation]
    ) -> TenantRecord:
        """Return the tenant's record, allocating on first sight.

        `choose` gets every block in use and returns the allocation; it runs inside the store's exclusive
        transaction, so it must be quick, pure, and may raise: then nothing is stored. A tenant that exists keeps
        its allocation and its stored spec, and `choose` is not called.

        Raises:
            RefusedError: the chosen block overlaps another tenant's (code `block-taken`).
        """

    def tenant(self, tenant: str) -> TenantRecord | None:
        """Return one tenant, or None."""

    def tenants(self) -> tuple[TenantRecord, ...]:
        """Return all tenants, by id."""

    def update(
        self,
        tenant: str,
        *,
        state: TenantState | None = None,
        spec: TenantSpec | None = None,
        plan_digest: str | None = None,
        outputs: dict[str, object] | None = None,
        vault: VaultRecord | None = None,
    ) -> TenantRecord:
        """Change what is given and leave the rest.

        Raises:
            RefusedError: no such tenant (code `tenant-unknown`).
        """

    def remove(self, tenant: str) -> None:
        """Forget a tenant and free its block. Only after its destruction was proved. Unknown: no effect."""

    def acquire(self, tenant: str, owner: Owner, *, purpose: str, ttl_s: float) -> Lease:
        """Take the lease on a tenant (which need not exist yet) if it is free or has expired.

        Raises:
            LockedError: somebody else's is in force (code `tenant-locked`); the message names user, host and pid.
        """

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend a lease.

        Raises:
            LockedError: it was lost (code `lease-lost`).
        """

    def give_up(self, lease: Lease) -> None:
        """End a lease; somebody else's is left alone."""

    def lease(self, tenant: str) -> Lease | None:
        """Return the stored lease, expired or not."""

    def break_lease(self, lease: Lease) -> None:
        """Remove exactly this lease (compared by token), whoever holds it."""


class ChainHeads(Protocol):
    """The newest link of every tenant's history, kept apart from the history itself."""

    def chain_head(self, tenant: str) -> ChainHead | None:
        """Return the newest entry's sequence and hash, or None before the first. It outlives the tenant."""

    def advance_chain(self, before: ChainHead, after: ChainHead) -> bool:
        """Move on from `before` (sequence 0: from nothing) to `after`; False where it is not `before` any more."""


class ObjectStore(Protocol):
    """Objects by name, written once. Adapters raise `OutsideError` when the store cannot be used."""

    def put_once(self, name: str, content: bytes) -> bool:
        """Write an object, whole or not at all; False where one of that name exists, which stays as it is.

        Where the store locks what is written, the object is tagged with its tenant, which is the name's first part,
        and with the day on which the lock runs out.
        """

    def get(self, name: str, version: str = "") -> bytes | None:
        """Return the content of an object's version, the newest by default, or None."""

    def names(self, prefix: str) -> tuple[str, ...]:
        """Return the names that start with `prefix`, which ends with a slash; in no order."""

    def stored(self, prefix: str) -> tuple[StoredObject, ...]:
        """Return what was ever written below `prefix`, by name, also what is hidden by now."""

    def locked(self, prefix: str, kind: str) -> tuple[Tombstone, ...]:
        """Return every version below `prefix` with its lock and tags; none where the store has no locks.

        Args:
            prefix: ends with a slash.
            kind: what the tombstones are called.
        """

    def mark(self, prefix: str) -> None:
        """Tag every locked version below `prefix` anew that is not tagged as `put_once` says."""

    def retention_days(self) -> int | None:
        """Return for how many days the store refuses deletion; None where it is a kind that never can."""


class Journal(Protocol):
    """Runs and their steps, so that a run that died is resumed and nobody wonders what happened."""

    def begin(self, tenant: str, kind: RunKind, plan_digest: str, owner: Owner) -> RunRecord:
        """Open a run; a run of this tenant that is still open is closed as failed."""

    def start_step(self, run: str, step: str) -> None:
        """Record that a step begins (again)."""

    def finish_step(self, run: str, step: str, detail: str) -> None:
        """Record a step's success and what it found; no secret."""

    def fail_step(self, run: str, step: str, detail: str) -> None:
        """Record a step's failure and why; no secret."""

    def end(self, run: str, *, succeeded: bool) -> None:
        """Close a run."""

    def last_run(self, tenant: str) -> RunRecord | None:
        """Return the newest run of a tenant with its steps, or None."""

    def runs(self, tenant: str) -> tuple[RunRecord, ...]:
        """Return all runs of a tenant, the newest first. They outlive the tenant."""


class Cloud(Protocol):
    """The AWS account as it is, read by other means than the stacks use to change it."""

    def in_account(self, account: str) -> Cloud:
        """Return the same for another account, entered by the profile's role."""

    def account_id(self) -> str:
        """Return the account of the credentials in use (sts:GetCallerIdentity)."""

    def zones(self, region: str) -> tuple[str, ...]:
        """Return the names of the region's available zones, sorted.

        Raises:
            SpecError: the region does not exist or is not enabled (code `region-unknown`).
        """

    def capacity(self, plan: TenantPlan) -> Capacity:
        """Return what the account has for a plan in its region: quotas, what others use, types, images."""

    def blocks_in_use(self, region: str, *, besides: str) -> tuple[IPv4Network, ...]:
        """Return the CIDRs of live VPCs that do not carry the tenant tag of `besides`."""

    def observe(self, plan: TenantPlan) -> TenantFacts:
        """Return the live tenant."""

    def residue(self, tenant: str, region: str) -> tuple[str, ...]:
        """Return what is left of a tenant, one line each (`kind id`), over every service the stacks use.

        Tombstones are not among it.
        """

    def clear_parameters(self, tenant: str, region: str) -> int:
        """Delete what joining left for a tenant's hosts, outside every stack; return how many there were."""

    def tombstones(self, tenant: str, region: str) -> tuple[Tombstone, ...]:
        """Return what outlives a tenant's stack (its KMS keys), living or on its way out."""

    def log_groups(self, tenant: str, region: str) -> tuple[str, ...]:
        """Return the names of the tenant's log groups, those included that no stack made."""

    def log_events(self, group: str, region: str) -> Iterator[LogEvent]:
        """Yield every event of every stream of a log group, page by page, in the order of their timestamps.

        A group that is gone has none.
        """

    def mark_tombstones(self, tenant: str, region: str, *, days: int) -> None:
        """Tag what still lives and will outlive the tenant with the day, `days` from now, on which it goes."""


class ProgressWatcher(Protocol):
    """Receives what the engine does, as it does it."""

    def resource(self, operation: str, kind: str, name: str, *, done: bool) -> None:
        """One resource starts (`done=False`) or ends its operation."""


class Reporter(ProgressWatcher, Protocol):
    """Receives the progress of a use case."""

    def step(self, name: str, title: str, done: list[str]) -> AbstractContextManager[None]:
        """A step begins; leaving the context ends it, with failure if an exception passes.

        `done` is filled by the step with what it found, and read at its end.
        """

    def note(self, text: str) -> None:
        """Something an operator should know, e.g. that an earlier run was found dead."""


class Workers(Protocol):
    """What works on tenants by child processes."""

    def await_quiet(self, tenant: str) -> None:
        """Wait until no child that a dead process of this machine started works on the tenant any more."""

    def guard(self, silence_s: float) -> AbstractContextManager[Callable[[], None]]:
        """Bind child processes to a lease: they end unless the yielded function is called every `silence_s`."""


class Stacks(Workers, Protocol):
    """The tenant stack, driven through the Pulumi engine."""

    def preview(self, plan: TenantPlan, *, refresh: bool) -> ChangeSet:
        """Return what `apply` would change. Leaves no trace, also where the stack does not exist yet."""

    def apply(
        self, plan: TenantPlan, *, refresh: bool, report: Reporter, replace: tuple[str, ...] = ()
    ) -> ChangeSet:
        """Make the stack equal to the plan, first recovering what an earlier run left half-made.

        What holds data is not replaced unless `replace` names it.

        Raises:
            RefusedError: the plan would replace what holds data (code `data-protected`), or `replace` names
                what the stack does not have (code `replace-unknown`).
        """

    def destroy(self, plan: TenantPlan, *, report: Reporter) -> ChangeSet:
        """Delete every resource of the stack, then the stack. Unknown stack: no effect."""

    def end_writers(self, plan: TenantPlan, *, report: Reporter) -> ChangeSet:
        """Delete what writes logs, the hosts and the flow log, and leave the rest of the stack."""

    def outputs(self, tenant: str) -> dict[str, object]:
        """Return the outputs of the last apply."""

    def state(self, plan: TenantPlan) -> bytes | None:
        """Return the stack's state as JSON, secrets sealed; None where there is no such stack."""

    def unlock(self, plan: TenantPlan) -> None:
        """Remove the state backend's lock on the stack, whoever holds it."""


class HostReporter(Reporter, Protocol):
    """Receives the progress of a run over many hosts."""

    def task(self, host: str, task: str, *, changed: int) -> None:
        """A host begins a task; `changed` is how many things the run has changed on it so far."""


class HostConfigurer(Workers, Protocol):
    """Brings hosts up to what the playbooks say."""

    def configure(self, inventory: Inventory, report: HostReporter, *, check: bool, diff: bool) -> Configured:
        """Run the playbooks on every host of the inventory; one that fails does not stop the others.

        Args:
            inventory: the hosts.
            report: told of each task.
            check: say what would change and change nothing.
            diff: keep what differs, where it holds no secret.

        Raises:
            OutsideError: the run could not begin, or ended without a result.
        """


class HostAuditor(Protocol):
    """Looks at hosts and says what it saw; changes nothing."""

    def audit(self, inventory: Inventory, report: HostReporter) -> tuple[Check, ...]:
        """Return a check for every control on every host; those of a host that does not answer are unknown."""

    def unseen(self, inventory: Inventory, reason: str) -> tuple[Check, ...]:
        """Return what `audit` would look at, each unknown for one reason, without asking a host."""

    def tools(self) -> dict[str, str]:
        """Return the versions of what was looked with."""


class EvidenceStore(Protocol):
    """Where bundles are kept; written once, never changed."""

    def keep(self, bundle: Bundle) -> str:
        """Write a bundle and return where it lies."""


class StateBackend(Protocol):
    """One place for stacks' states, with the means that seal the secrets in them."""

    @property
    def url(self) -> str:
        """Where it is."""

    def stacks(self) -> frozenset[str]:
        """Return the names of the project's stacks."""

    def begin(self, stack: str) -> None:
        """Make an empty stack, in place of one of that name; so it is found out whether state and seal can be had."""

    def sealed(self, stack: str) -> bytes:
        """Return a stack's state with its secrets sealed."""

    def opened(self, stack: str) -> Mapping[str, Any]:
        """Return a stack's deployment with its secrets open: to be compared, and neither shown nor stored."""

    def load(self, stack: str, sealed: bytes) -> None:
        """Put a state that another backend sealed into a stack, and seal it anew."""

    def rename(self, old: str, new: str) -> None:
        """Give a stack another name."""

    def remove(self, stack: str) -> None:
        """Forget a stack without touching what it describes."""


class SpecFiles(Protocol):
    """Specs and lock files on disk."""

    def lock(self, allocation: Allocation, spec: TenantSpec, plan_digest: str) -> None:
        """Write the lock file beside the spec, atomically; unchanged content is not rewritten."""

    def blocks_beside(self) -> tuple[IPv4Network, ...]:
        """Return the blocks that the lock files of other specs in the same directory hold.

        They are spoken for, whatever the registry knows: it may be new, or that of another environment.
        """

    def locked(self) -> Allocation | None:
        """Return the allocation of the lock file, or None where there is none."""


def describe(residue: Iterable[str]) -> str:
    """Join residue lines for a message, at most `SHOWN_RESIDUE` of them."""
    lines = list(residue)
    shown = ", ".join(lines[:SHOWN_RESIDUE])
    return f"{shown} and {len(lines) - SHOWN_RESIDUE} more" if len(lines) > SHOWN_RESIDUE else shown
