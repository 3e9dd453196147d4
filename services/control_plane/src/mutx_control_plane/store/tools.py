"""Who may use a tool: the tenant first, then each agent of it. What a tenant loses, its agents lose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from mutx_service.problem import Problem
from sqlalchemy.dialects.postgresql import insert

from mutx_control_plane.store import agents
from mutx_control_plane.store.refusals import refusing
from mutx_control_plane.store.schema import agent_tools, tenant_tools
from mutx_control_plane.store.transaction import Transaction

_NOT_TENANTS = {"agent_tools_tool_fkey": ("request-invalid", "the tenant does not have this tool")}


@dataclass(frozen=True, slots=True)
class ToolGrant:
    """A tool that an agent may use, with an approval each time or without."""

    tool: str
    needs_approval: bool


def grant_tenant(change: Transaction, tool: str, now: datetime) -> None:
    """Let the tenant's agents be granted a tool; a second time changes nothing."""
    made = insert(tenant_tools).values(tenant=change.tenant, tool=tool, granted_at=now)
    if change.change(made.on_conflict_do_nothing()):
        change.record("tool.granted", f"tenant:{change.tenant}", {"tool": tool})


def revoke_tenant(change: Transaction, tool: str) -> None:
    """Take a tool from the tenant, and from every agent of it.

    Raises:
        Problem: `not-found`.
    """
    if not change.change(tenant_tools.delete().where(tenant_tools.c.tool == tool)):
        raise Problem("not-found")
    change.record("tool.revoked", f"tenant:{change.tenant}", {"tool": tool})


def of_tenant(connection: sa.Connection) -> tuple[str, ...]:
    """Return the tenant's tools, by name."""
    return tuple(connection.execute(sa.select(tenant_tools.c.tool).order_by(tenant_tools.c.tool)).scalars())


def grant_agent(change: Transaction, agent: UUID, grant: ToolGrant, now: datetime) -> None:
    """Let an agent use a tool of the tenant's, in the place of an earlier grant of it.

    Raises:
        Problem: `not-found`, there is no such agent; `request-invalid`, the tenant does not have the tool.
    """
    agents.get(change.connection, agent)
    change.change(agent_tools.delete().where(_is(agent, grant.tool)))
    with refusing(_NOT_TENANTS):
        change.change(
            agent_tools.insert().values(
                tenant=change.tenant, agent=agent, tool=grant.tool, needs_approval=grant.needs_approval, granted_at=now
            )
        )  # fmt: skip
    change.record(
        "tool.granted", f"agent:{agent}", {"tool": grant.tool, "needs_approval": grant.needs_approval}
    )


def revoke_agent(change: Transaction, agent: UUID, tool: str) -> None:
    """Take a tool from an agent.

    Raises:
        Problem: `not-found`, there is no such agent, or it does not have the tool.
    """
    agents.get(change.connection, agent)
    if not change.change(agent_tools.delete().where(_is(agent, tool))):
        raise Problem("not-found")
    change.record("tool.revoked", f"agent:{agent}", {"tool": tool})


def of_agent(connection: sa.Connection, agent: UUID) -> tuple[ToolGrant, ...]:
    """Return an agent's tools, by name.

    Raises:
        Problem: `not-found`, there is no such agent.
    """
    agents.get(connection, agent)
    query = sa.select(agent_tools.c.tool, agent_tools.c.needs_approval).where(agent_tools.c.agent == agent)
    found = connection.execute(query.order_by(agent_tools.c.tool))
    return tuple(ToolGrant(row.tool, row.needs_approval) for row in found)


def _is(agent: UUID, tool: str) -> sa.ColumnElement[bool]:
    return sa.and_(agent_tools.c.agent == agent, agent_tools.c.tool == tool)
