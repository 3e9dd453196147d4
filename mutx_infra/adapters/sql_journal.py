"""The journal in SQL: runs and their steps, in the same database as the registry."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import sqlalchemy as sa

from mutx_infra.adapters.sql_schema import runs, steps
from mutx_infra.adapters.sql_store import SqlStore
from mutx_infra.errors import RefusedError
from mutx_infra.ports import Clock
from mutx_infra.records import Owner, RunKind, RunRecord, StepRecord, StepState

INTERRUPTED = "interrupted: its run ended without a word"
"""Detail of a step that was still running when its run was closed."""


class SqlJournal:
    """`ports.Journal` over a SQL database.

    A run that was closed in the meantime (another process began one) accepts no step and no success any more;
    saying again that it failed has no effect.
    """

    def __init__(self, store: SqlStore | str, clock: Clock) -> None:
        self.store = SqlStore(store) if isinstance(store, str) else store
        self._clock = clock

    def begin(self, tenant: str, kind: RunKind, plan_digest: str, owner: Owner) -> RunRecord:
        """Open a run; a run of this tenant that is still open is closed as failed."""

        def work(connection: sa.Connection) -> RunRecord:
            now = self._clock.now()
            still_open = sa.select(runs.c.id).where(runs.c.tenant == tenant, runs.c.state == "running")
            for run in connection.execute(still_open).scalars().all():
                _close(connection, run, "failed", now)
            record = RunRecord(
                id=uuid4().hex,
                tenant=tenant,
                kind=kind,
                plan_digest=plan_digest,
                state="running",
                owner=owner,
                started_at=now,
            )
            values = {**record.model_dump(exclude={"steps"}), "owner": owner.model_dump_json()}
            connection.execute(runs.insert().values(values))
            return record

        return self.store.write(work)

    def start_step(self, run: str, step: str) -> None:
        """Record that a step begins (again); it keeps its place among the steps."""

        def work(connection: sa.Connection) -> None:
            _require_open(connection, run)
            fresh = {"state": "running", "started_at": self._clock.now(), "ended_at": None, "detail": ""}
            if connection.execute(steps.update().where(_is_this(run, step)).values(fresh)).rowcount:
                return
            count = sa.select(sa.func.count()).select_from(steps).where(steps.c.run == run)
            position = connection.execute(count).scalar_one()
            connection.execute(steps.insert().values(run=run, name=step, position=position, **fresh))

        self.store.write(work)

    def finish_step(self, run: str, step: str, detail: str) -> None:
        """Record a step's success and what it found; no secret."""

        def work(connection: sa.Connection) -> None:
            _require_open(connection, run)
            self._end_step(connection, run, step, StepState.DONE, detail)

        self.store.write(work)

    def fail_step(self, run: str, step: str, detail: str) -> None:
        """Record a step's failure and why; no secret."""

        def work(connection: sa.Connection) -> None:
            if _is_open(connection, run):
                self._end_step(connection, run, step, StepState.FAILED, detail)

        self.store.write(work)

    def end(self, run: str, *, succeeded: bool) -> None:
        """Close a run."""

        def work(connection: sa.Connection) -> None:
            if succeeded:
                _require_open(connection, run)
            if _is_open(connection, run):
                _close(connection, run, "done" if succeeded else "failed", self._clock.now())

        self.store.write(work)

    def last_run(self, tenant: str) -> RunRecord | None:
        """Return the newest run of a tenant with its steps, or None."""
        found = self._runs(tenant, limit=1)
        return found[0] if found else None

    def runs(self, tenant: str) -> tuple[RunRecord, ...]:
        """Return all runs of a tenant, the newest first."""
        return self._runs(tenant, limit=None)

    def _runs(self, tenant: str, *, limit: int | None) -> tuple[RunRecord, ...]:
        newest = sa.select(runs).where(runs.c.tenant == tenant).order_by(runs.c.sequence.desc()).limit(limit)

        def work(connection: sa.Connection) -> tuple[RunRecord, ...]:
            rows = connection.execute(newest).all()
            mine = (
                sa.select(steps).where(steps.c.run.in_([row.id for row in rows])).order_by(steps.c.position)
            )
            taken = [
                (step.run, StepRecord.model_validate(dict(step._mapping)))
                for step in connection.execute(mine)
            ]
            return tuple(_record(row, tuple(step for run, step in taken if run == row.id)) for row in rows)

        return self.store.read(work)

    def _end_step(
        self, connection: sa.Connection, run: str, step: str, state: StepState, detail: str
    ) -> None:
        values = {"state": str(state), "ended_at": self._clock.now(), "detail": detail}
        if not connection.execute(steps.update().where(_is_this(run, step)).values(values)).rowcount:
            raise ValueError(f"step {step} of run {run} ends before it began")


def _record(row: sa.Row[tuple[object, ...]], taken: tuple[StepRecord, ...]) -> RunRecord:
    stored = {**row._mapping, "owner": Owner.model_validate_json(row._mapping["owner"]), "steps": taken}
    return RunRecord.model_validate(stored)


def _is_this(run: str, step: str) -> sa.ColumnElement[bool]:
    return sa.and_(steps.c.run == run, steps.c.name == step)


def _is_open(connection: sa.Connection, run: str) -> bool:
    return connection.execute(sa.select(runs.c.state).where(runs.c.id == run)).scalar() == "running"


def _require_open(connection: sa.Connection, run: str) -> None:
    if not _is_open(connection, run):
        raise RefusedError(
            f"run {run} is closed: another process has begun one for this tenant",
            code="run-closed",
            remedy="`mutx-infra tenant status` shows who works on it; `mutx-infra tenant resume` continues",
        )


def _close(connection: sa.Connection, run: str, state: str, now: datetime) -> None:
    connection.execute(runs.update().where(runs.c.id == run).values(state=state, ended_at=now))
    hanging = sa.and_(steps.c.run == run, steps.c.state == "running")
    values = {"state": str(StepState.FAILED), "ended_at": now, "detail": INTERRUPTED}
    connection.execute(steps.update().where(hanging).values(values))
