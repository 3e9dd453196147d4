"""Agents: what a tenant declares of each, and whether it takes runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from mutx_service.problem import Problem

from mutx_control_plane.store.paging import Ask, Page, timed_page
from mutx_control_plane.store.refusals import refusing
from mutx_control_plane.store.schema import agents
from mutx_control_plane.store.transaction import Transaction

_CURSOR = "a"
_REFUSALS = {
    "agents_name": ("name-taken", "there is an agent of that name"),
    "agents_owner_fkey": ("request-invalid", "the owner is no account of the tenant"),
}


class AgentState(StrEnum):
    """What an agent may be; a deleted one stays for the records that name it, and nobody reads it."""

    ACTIVE = "active"
    PAUSED = "paused"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is said of an agent by who registers or changes it.

    Attributes:
        name: unique among the tenant's agents.
        purpose: what it is for, which its guard judges by.
    """

    name: str
    owner: UUID
    purpose: str
    config: Mapping[str, Any]  # Any: the tenant's own JSON


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent.

    Attributes:
        version: counts the changes; who changes it names the one they read.
    """

    id: UUID
    tenant: str
    declared: Declaration
    state: AgentState
    version: int
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """An agent as a list shows it: without its configuration, which not everybody who lists it may read."""

    id: UUID
    name: str
    owner: UUID
    purpose: str
    state: AgentState
    version: int
    created: datetime
    updated: datetime


def create(change: Transaction, agent: UUID, declared: Declaration, now: datetime) -> Agent:
    """Keep a new agent, active.

    Raises:
        Problem: `name-taken`, or `request-invalid` where its owner is nobody of the tenant.
    """
    made = agents.insert().values(
        id=agent, tenant=change.tenant, state=AgentState.ACTIVE, version=1, created_at=now, updated_at=now,
        **_columns(declared),
    )  # fmt: skip
    with refusing(_REFUSALS):
        row = change.change_one(made.returning(agents))
    change.record("agent.created", f"agent:{agent}", {"name": declared.name})
    return _required(row)


def get(connection: sa.Connection, agent: UUID) -> Agent:
    """Return an agent of the tenant.

    Raises:
        Problem: `not-found`; another tenant's is none, as is a deleted one.
    """
    return _required(connection.execute(sa.select(agents).where(_is(agent))).one_or_none())


def page(connection: sa.Connection, ask: Ask, *, owner: UUID | None = None) -> Page[Listed]:
    """Return agents, the newest first: all of the tenant's, or one owner's."""
    query = sa.select(*_LISTED).where(agents.c.state != AgentState.DELETED)
    if owner is not None:
        query = query.where(agents.c.owner == owner)
    return timed_page(connection, query, agents.c.created_at, agents.c.id, ask, _CURSOR, _listed)


def update(change: Transaction, agent: UUID, version: int, declared: Declaration, now: datetime) -> Agent:
    """Declare an agent anew, if it is still the version that was read.

    Raises:
        Problem: `not-found`, `version-stale`, or as `create`.
    """
    with refusing(_REFUSALS):
        return _change(change, agent, version, _columns(declared), now, "agent.updated")


def set_state(
    change: Transaction, agent: UUID, state: AgentState, now: datetime, *, version: int | None = None
) -> Agent:
    """Pause, resume or delete an agent; one that is in that state already is left as it is.

    Raises:
        Problem: `not-found`; `version-stale` where a version is given and is not the agent's any more.
    """
    found = get(change.connection, agent)
    if found.state is state and version in {None, found.version}:
        return found
    verb = {AgentState.ACTIVE: "resumed", AgentState.PAUSED: "paused", AgentState.DELETED: "deleted"}[state]
    return _change(change, agent, version, {"state": state}, now, f"agent.{verb}")


_LISTED = tuple(column for column in agents.c if column.name not in {"tenant", "config"})


def _change(
    change: Transaction,
    agent: UUID,
    version: int | None,
    values: Mapping[str, object],
    now: datetime,
    action: str,
) -> Agent:
    same = _is(agent) if version is None else sa.and_(_is(agent), agents.c.version == version)
    changed = agents.update().where(same).values(**values, version=agents.c.version + 1, updated_at=now)
    row = change.change_one(changed.returning(agents))
    if row is None:
        get(change.connection, agent)
        raise Problem("version-stale")
    change.record(action, f"agent:{agent}", {"name": row.name, "version": row.version})
    return _agent(row)


def _is(agent: UUID) -> sa.ColumnElement[bool]:
    return sa.and_(agents.c.id == agent, agents.c.state != AgentState.DELETED)


def _columns(declared: Declaration) -> dict[str, object]:
    return {
        "name": declared.name, "owner": declared.owner, "purpose": declared.purpose, "config": dict(declared.config)
    }  # fmt: skip


def _required(row: sa.Row[Any] | None) -> Agent:
    if row is None:
        raise Problem("not-found")
    return _agent(row)


def _agent(row: sa.Row[Any]) -> Agent:
    declared = Declaration(row.name, row.owner, row.purpose, row.config)
    state = AgentState(row.state)
    return Agent(row.id, row.tenant, declared, state, row.version, row.created_at, row.updated_at)


def _listed(row: sa.Row[Any]) -> Listed:
    state = AgentState(row.state)
    return Listed(
        row.id, row.name, row.owner, row.purpose, state, row.version, row.created_at, row.updated_at
    )
