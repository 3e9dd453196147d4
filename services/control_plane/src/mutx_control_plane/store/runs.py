"""Runs of agents: who asked, when, by which trace, and how each ended. Never a text of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from mutx_service.problem import Problem

from mutx_control_plane.store.agents import AgentState
from mutx_control_plane.store.paging import Ask, Page, timed_page
from mutx_control_plane.store.schema import agents, runs
from mutx_control_plane.store.transaction import Transaction

_CURSOR = "r"


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BLOCKED = "blocked"
    """The guardrail refused what went in or came out."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        problem: the code that the caller was told, empty for success.
    """

    status: RunStatus
    problem: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A run.

    Attributes:
        requested_by: the account that asked for it.
        trace_id: as W3C has it.
    """

    id: UUID
    tenant: str
    agent: UUID
    requested_by: UUID
    trace_id: str
    started: datetime
    ended: datetime | None
    outcome: Outcome


def start(
    change: Transaction, run: UUID, agent: UUID, requested_by: UUID, trace_id: str, now: datetime
) -> Run:
    """Keep a run that begins now.

    The agent's row is held until the transaction ends: a run begins before a pause or not at all.

    Raises:
        Problem: `not-found`, there is no such agent; `agent-paused`.
    """
    # A plain `FOR SHARE` would wait for, and hold up, whoever declares the agent anew; runs of one agent do not wait.
    held = sa.select(agents.c.state).where(agents.c.id == agent, agents.c.state != AgentState.DELETED)
    state = change.connection.execute(held.with_for_update(read=True)).scalar_one_or_none()
    if state is None:
        raise Problem("not-found")
    if state == AgentState.PAUSED:
        raise Problem("agent-paused")
    made = runs.insert().values(
        id=run, tenant=change.tenant, agent=agent, requested_by=requested_by, trace_id=trace_id,
        status=RunStatus.RUNNING, problem="", started_at=now, input_tokens=0, output_tokens=0,
    )  # fmt: skip
    row = change.change_one(made.returning(runs))
    change.record("run.started", f"run:{run}", {"agent": str(agent)})
    return _required(row)


def finish(change: Transaction, run: UUID, outcome: Outcome, now: datetime) -> Run:
    """Note how a run ended; one that has ended is left as it is.

    Raises:
        Problem: `not-found`.
    """
    running = sa.and_(runs.c.id == run, runs.c.status == RunStatus.RUNNING)
    ended = runs.update().where(running).values(
        status=outcome.status, problem=outcome.problem, ended_at=now, input_tokens=outcome.input_tokens,
        output_tokens=outcome.output_tokens,
    )  # fmt: skip
    row = change.change_one(ended.returning(runs))
    if row is None:
        return get(change.connection, run)
    detail = {"agent": str(row.agent), "status": outcome.status.value, "problem": outcome.problem}
    change.record("run.ended", f"run:{run}", detail, outcome=outcome.status)
    return _run(row)


def get(connection: sa.Connection, run: UUID) -> Run:
    """Return a run of the tenant.

    Raises:
        Problem: `not-found`; another tenant's is none.
    """
    return _required(connection.execute(sa.select(runs).where(runs.c.id == run)).one_or_none())


def page(
    connection: sa.Connection, ask: Ask, *, agent: UUID | None = None, requested_by: UUID | None = None
) -> Page[Run]:
    """Return runs, the newest first: all of the tenant's, or an agent's, or those that one account asked for."""
    query = sa.select(runs)
    if agent is not None:
        query = query.where(runs.c.agent == agent)
    if requested_by is not None:
        query = query.where(runs.c.requested_by == requested_by)
    return timed_page(connection, query, runs.c.started_at, runs.c.id, ask, _CURSOR, _run)


def of_trace(connection: sa.Connection, trace_id: str) -> tuple[Run, ...]:
    """Return the runs of a trace, the oldest first, 200 at most."""
    query = (
        sa.select(runs).where(runs.c.trace_id == trace_id).order_by(runs.c.started_at, runs.c.id).limit(200)
    )
    return tuple(map(_run, connection.execute(query)))


def purge(change: Transaction, before: datetime, at_most: int) -> int:
    """Forget runs that began before a time, `at_most` at once; return how many. They are kept 90 days (AUDIT-1)."""
    old = sa.select(runs.c.id).where(runs.c.started_at < before).order_by(runs.c.started_at).limit(at_most)
    count = change.change(runs.delete().where(runs.c.id.in_(old)))
    if count:
        change.record("run.purged", f"tenant:{change.tenant}", {"count": count})
    return count


def _required(row: sa.Row[Any] | None) -> Run:
    if row is None:
        raise Problem("not-found")
    return _run(row)


def _run(row: sa.Row[Any]) -> Run:
    outcome = Outcome(RunStatus(row.status), row.problem, row.input_tokens, row.output_tokens)
    return Run(
        row.id, row.tenant, row.agent, row.requested_by, row.trace_id, row.started_at, row.ended_at, outcome
    )
