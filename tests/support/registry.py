"""In-memory registry and journal; the suites in tests/contracts hold them to what the SQL ones do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from threading import RLock
from uuid import uuid4

from mutx_infra.errors import LockedError, RefusedError
from mutx_infra.plan import Allocation
from mutx_infra.ports import Clock
from mutx_infra.records import (
    ChainHead,
    Lease,
    Owner,
    RunKind,
    RunRecord,
    StepRecord,
    StepState,
    TenantRecord,
    TenantState,
    VaultRecord,
)
from mutx_infra.tenant import TenantSpec


class HandClock:
    """A clock that stands still until it is told to move; sleeping moves it."""

    def __init__(self, now: datetime = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class MemoryRegistry:
    """`ports.Registry` in a dictionary."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tenants: dict[str, TenantRecord] = {}
        self._leases: dict[str, Lease] = {}
        self._heads: dict[str, ChainHead] = {}
        self._lock = RLock()

    def reserve(
        self, spec: TenantSpec, choose: Callable[[tuple[IPv4Network, ...]], Allocation]
    ) -> TenantRecord:
        with self._lock:
            if spec.id in self._tenants:
                return self._tenants[spec.id]
            taken = {name: record.allocation.block for name, record in self._tenants.items()}
            allocation = choose(tuple(taken.values()))
            for other, block in taken.items():
                if block.overlaps(allocation.block):
                    raise RefusedError(
                        f"{spec.id}: {allocation.block} overlaps {other}'s {block}",
                        code="block-taken",
                        remedy="leave `cidr:` out",
                    )
            now = self._clock.now()
            record = TenantRecord(
                spec=spec, allocation=allocation, state=TenantState.RESERVED, created_at=now, updated_at=now
            )
            self._tenants[spec.id] = record
            return record

    def tenant(self, tenant: str) -> TenantRecord | None:
        return self._tenants.get(tenant)

    def tenants(self) -> tuple[TenantRecord, ...]:
        with self._lock:
            return tuple(self._tenants[name] for name in sorted(self._tenants))

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
        given = {
            "state": state, "spec": spec, "plan_digest": plan_digest, "outputs": outputs, "vault": vault,
        }  # fmt: skip
        with self._lock:
            if tenant not in self._tenants:
                raise RefusedError(
                    f"there is no tenant {tenant}",
                    code="tenant-unknown",
                    remedy="see `mutx-infra tenant list`",
                )
            changes = {field: value for field, value in given.items() if value is not None}
            record = self._tenants[tenant].model_copy(update={**changes, "updated_at": self._clock.now()})
            self._tenants[tenant] = record
            return record

    def remove(self, tenant: str) -> None:
        with self._lock:
            self._tenants.pop(tenant, None)

    def acquire(self, tenant: str, owner: Owner, *, purpose: str, ttl_s: float) -> Lease:
        with self._lock:
            now = self._clock.now()
            held = self._leases.get(tenant)
            if held is not None and held.expires_at > now:
                raise LockedError(
                    f"{held.owner} works on {tenant} ({held.purpose})", code="tenant-locked", remedy="wait"
                )
            self._leases[tenant] = Lease(
                tenant=tenant,
                token=uuid4().hex,
                owner=owner,
                purpose=purpose,
                acquired_at=now,
                expires_at=now + timedelta(seconds=ttl_s),
            )
            return self._leases[tenant]

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        with self._lock:
            held = self._leases.get(lease.tenant)
            if held is None or held.token != lease.token:
                raise LockedError(f"the lease on {lease.tenant} was lost", code="lease-lost", remedy="resume")
            expires_at = self._clock.now() + timedelta(seconds=ttl_s)
            self._leases[lease.tenant] = held.model_copy(update={"expires_at": expires_at})
            return self._leases[lease.tenant]

    def give_up(self, lease: Lease) -> None:
        with self._lock:
            held = self._leases.get(lease.tenant)
            if held is not None and held.token == lease.token:
                del self._leases[lease.tenant]

    def lease(self, tenant: str) -> Lease | None:
        return self._leases.get(tenant)

    def break_lease(self, lease: Lease) -> None:
        self.give_up(lease)

    def chain_head(self, tenant: str) -> ChainHead | None:
        return self._heads.get(tenant)

    def advance_chain(self, before: ChainHead, after: ChainHead) -> bool:
        with self._lock:
            now = self._heads.get(after.tenant)
            if ((now.sequence, now.hash) if now else (0, before.hash)) != (before.sequence, before.hash):
                return False
            self._heads[after.tenant] = after
            return True


class MemoryJournal:
    """`ports.Journal` in a list."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, RunRecord] = {}
        self._lock = RLock()

    def begin(self, tenant: str, kind: RunKind, plan_digest: str, owner: Owner) -> RunRecord:
        with self._lock:
            for run in self._runs.values():
                if run.tenant == tenant and run.state == "running":
                    self.end(run.id, succeeded=False)
            run = RunRecord(
                id=uuid4().hex,
                tenant=tenant,
                kind=kind,
                plan_digest=plan_digest,
                state="running",
                owner=owner,
                started_at=self._clock.now(),
            )
            self._runs[run.id] = run
            return run

    def start_step(self, run: str, step: str) -> None:
        with self._lock:
            self._require_open(run)
            fresh = StepRecord(name=step, state=StepState.RUNNING, started_at=self._clock.now())
            steps = {s.name: s for s in self._runs[run].steps}
            self._change(run, steps=tuple({**steps, step: fresh}.values()))

    def finish_step(self, run: str, step: str, detail: str) -> None:
        with self._lock:
            self._require_open(run)
            self._end_step(run, step, StepState.DONE, detail)

    def fail_step(self, run: str, step: str, detail: str) -> None:
        with self._lock:
            if self._is_open(run):
                self._end_step(run, step, StepState.FAILED, detail)

    def end(self, run: str, *, succeeded: bool) -> None:
        with self._lock:
            if succeeded:
                self._require_open(run)
            if not self._is_open(run):
                return
            for step in self._runs[run].steps:
                if step.state is StepState.RUNNING:
                    self._end_step(
                        run, step.name, StepState.FAILED, "interrupted: its run ended without a word"
                    )
            self._change(run, state="done" if succeeded else "failed", ended_at=self._clock.now())

    def last_run(self, tenant: str) -> RunRecord | None:
        return next(iter(self.runs(tenant)), None)

    def runs(self, tenant: str) -> tuple[RunRecord, ...]:
        with self._lock:
            return tuple(run for run in reversed(self._runs.values()) if run.tenant == tenant)

    def _is_open(self, run: str) -> bool:
        return run in self._runs and self._runs[run].state == "running"

    def _require_open(self, run: str) -> None:
        if not self._is_open(run):
            raise RefusedError(
                f"run {run} is closed", code="run-closed", remedy="see `mutx-infra tenant status`"
            )

    def _end_step(self, run: str, step: str, state: StepState, detail: str) -> None:
        steps = {s.name: s for s in self._runs[run].steps}
        if step not in steps:
            raise ValueError(f"step {step} of run {run} ends before it began")
        ended = {"state": state, "ended_at": self._clock.now(), "detail": detail}
        self._change(run, steps=tuple({**steps, step: steps[step].model_copy(update=ended)}.values()))

    def _change(self, run: str, **fields: object) -> None:
        self._runs[run] = self._runs[run].model_copy(update=fields)
