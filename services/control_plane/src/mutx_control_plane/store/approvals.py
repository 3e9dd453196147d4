"""Approvals: asked for by one, decided by another, once, and in time.

The database's clock decides what is in time, so that replicas whose clocks differ agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from mutx_service.problem import Problem

from mutx_control_plane.store import agents
from mutx_control_plane.store.paging import Ask, Page, timed_page
from mutx_control_plane.store.refusals import refusing
from mutx_control_plane.store.schema import approvals
from mutx_control_plane.store.transaction import Transaction

_CURSOR = "p"
_REFUSALS = {"approvals_requested_by_fkey": ("request-invalid", "who asks is no account of the tenant")}


class ApprovalState(StrEnum):
    """How an approval stands. One that nobody decided in time is expired; the database keeps it as pending."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an approval is asked for: a tool's use by an agent, within a run where there is one."""

    agent: UUID
    tool: str
    run: UUID | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval."""

    id: UUID
    tenant: str
    wanted: Wanted
    requested_by: UUID
    requested: datetime
    expires: datetime
    state: ApprovalState
    decided_by: UUID | None
    decided: datetime | None


def request(
    change: Transaction, approval: UUID, wanted: Wanted, requested_by: UUID, lifetime: timedelta
) -> Approval:
    """Keep a new approval, pending until `lifetime` from now.

    Raises:
        Problem: `not-found`, there is no such agent.
    """
    agents.get(change.connection, wanted.agent)
    made = approvals.insert().values(
        id=approval, tenant=change.tenant, agent=wanted.agent, tool=wanted.tool, run=wanted.run,
        requested_by=requested_by, requested_at=sa.func.now(), expires_at=sa.func.now() + lifetime,
        state=ApprovalState.PENDING,
    )  # fmt: skip
    with refusing(_REFUSALS):
        row = change.change_one(made.returning(*_COLUMNS))
    change.record("approval.requested", _name(approval), {"agent": str(wanted.agent), "tool": wanted.tool})
    return _required(row)


def decide(change: Transaction, approval: UUID, decider: UUID, *, is_approved: bool) -> Approval:
    """Approve or reject; of all who try at once, one does.

    Raises:
        Problem: `not-found`, `own-approval`, `approval-decided` or `approval-expired`.
    """
    state = ApprovalState.APPROVED if is_approved else ApprovalState.REJECTED
    open_to_decider = sa.and_(
        approvals.c.id == approval,
        approvals.c.state == ApprovalState.PENDING,
        approvals.c.expires_at > sa.func.now(),
        approvals.c.requested_by != decider,
    )
    values = {"state": state, "decided_by": decider, "decided_at": sa.func.now()}
    row = change.change_one(approvals.update().where(open_to_decider).values(values).returning(*_COLUMNS))
    if row is None:
        raise Problem(_why_not(get(change.connection, approval), decider))
    change.record(f"approval.{state}", _name(approval), {"agent": str(row.agent), "tool": row.tool})
    return _approval(row)


def get(connection: sa.Connection, approval: UUID) -> Approval:
    """Return an approval of the tenant.

    Raises:
        Problem: `not-found`; another tenant's is none.
    """
    query = sa.select(*_COLUMNS).where(approvals.c.id == approval)
    return _required(connection.execute(query).one_or_none())


def page(
    connection: sa.Connection, ask: Ask, *, is_open: bool = False, requested_by: UUID | None = None
) -> Page[Approval]:
    """Return approvals, the newest first: all of the tenant's, those that are open, or those of one asker."""
    query = sa.select(*_COLUMNS)
    if is_open:
        query = query.where(
            approvals.c.state == ApprovalState.PENDING, approvals.c.expires_at > sa.func.now()
        )
    if requested_by is not None:
        query = query.where(approvals.c.requested_by == requested_by)
    return timed_page(connection, query, approvals.c.requested_at, approvals.c.id, ask, _CURSOR, _approval)


_COLUMNS = (*approvals.c, (approvals.c.expires_at <= sa.func.now()).label("is_late"))


def _why_not(found: Approval, decider: UUID) -> str:
    if found.requested_by == decider:
        return "own-approval"
    return "approval-expired" if found.state is ApprovalState.EXPIRED else "approval-decided"


def _name(approval: UUID) -> str:
    return f"approval:{approval}"


def _required(row: sa.Row[Any] | None) -> Approval:
    if row is None:
        raise Problem("not-found")
    return _approval(row)


def _approval(row: sa.Row[Any]) -> Approval:
    state = ApprovalState(row.state)
    if state is ApprovalState.PENDING and row.is_late:
        state = ApprovalState.EXPIRED
    return Approval(
        row.id, row.tenant, Wanted(row.agent, row.tool, row.run), row.requested_by, row.requested_at, row.expires_at,
        state, row.decided_by, row.decided_at,
    )  # fmt: skip
