"""What is kept no longer than it may be (AUDIT-1): removed by the store itself, by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from mutx_control_plane.principal import PLATFORM
from mutx_control_plane.store import runs, sessions, tenants
from mutx_control_plane.store.database import Database
from mutx_control_plane.store.event import KEPT_DAYS, Origin, Retention
from mutx_control_plane.store.transaction import Transaction

RETENTION = Origin("service:retention")
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Removed:
    """What a pass removed.

    Attributes:
        months: names of the audit's partitions; the chains that their records were in stay whole.
    """

    months: tuple[str, ...]
    runs: int
    sessions: int


def expire(database: Database, now: datetime) -> Removed:
    """Remove runs and audit of work after 90 days, other audit after a year, sessions once they are over.

    To be called daily, by one process or by several. Raises as `Database.write`.
    """
    months = database.write(PLATFORM, RETENTION, _drop_months)
    gone_runs = gone_sessions = 0
    work_before = now - timedelta(days=KEPT_DAYS[Retention.WORK])
    for tenant in database.read(PLATFORM, tenants.every):
        gone_sessions += database.write(tenant.id, RETENTION, lambda change: sessions.purge(change, now))
        while count := database.write(
            tenant.id, RETENTION, lambda change: runs.purge(change, work_before, _AT_ONCE)
        ):
            gone_runs += count
    return Removed(months, gone_runs, gone_sessions)


def _drop_months(change: Transaction) -> tuple[str, ...]:
    names = sa.text("SELECT * FROM mutx.drop_expired_audit_months()")
    found = tuple(change.connection.execute(names).scalars())
    for name in found:
        change.record("audit.month-removed", f"audit-month:{name}")
    return found
