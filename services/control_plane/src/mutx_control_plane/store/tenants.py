"""Tenants, as those who run the control plane see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from mutx_service.problem import Problem

from mutx_control_plane.principal import PLATFORM
from mutx_control_plane.store.refusals import refusing
from mutx_control_plane.store.schema import tenants
from mutx_control_plane.store.transaction import Transaction

_REFUSALS = {
    "tenants_pkey": ("name-taken", "there is a tenant of that name"),
    "tenants_id_is_label": ("request-invalid", "a tenant's name is a host label: a-z, 0-9 and inner hyphens"),
}


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant; nobody of one that is not active gets in."""

    id: str
    is_active: bool
    created: datetime


def create(change: Transaction, tenant: str, now: datetime) -> Tenant:
    """Keep a new tenant, in a transaction of the platform's.

    Raises:
        Problem: `name-taken`; `request-invalid` where the name is no host label.
    """
    with refusing(_REFUSALS):
        change.change(tenants.insert().values(id=tenant, is_active=True, created_at=now))
    change.record("tenant.created", f"tenant:{tenant}")
    return Tenant(tenant, is_active=True, created=now)


def set_active(change: Transaction, tenant: str, *, is_active: bool) -> Tenant:
    """Let a tenant's people in, or keep them out.

    Raises:
        Problem: `not-found`; `request-invalid` for the platform, which would keep out who could undo it.
    """
    if tenant == PLATFORM:
        raise Problem("request-invalid", "the platform's own tenant stays active")
    changed = tenants.update().where(tenants.c.id == tenant).values(is_active=is_active)
    row = change.change_one(changed.returning(tenants))
    if row is None:
        raise Problem("not-found")
    change.record("tenant.changed", f"tenant:{tenant}", {"is_active": is_active})
    return _tenant(row)


def every(connection: sa.Connection) -> tuple[Tenant, ...]:
    """Return all tenants that are seen from here, by name: all of them from the platform, else one's own."""
    return tuple(map(_tenant, connection.execute(sa.select(tenants).order_by(tenants.c.id))))


def _tenant(row: sa.Row[Any]) -> Tenant:
    return Tenant(row.id, row.is_active, row.created_at)
