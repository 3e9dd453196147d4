"""The registry's tables, the same on SQLite and PostgreSQL, and what each database adds to refuse overlaps.

Blocks are stored as text for people and as a closed integer range for the database: PostgreSQL refuses an
overlap by an exclusion constraint, SQLite by triggers, whatever the program above them does.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect

SCHEMA_VERSION = 3
OVERLAP = "tenant_blocks_disjoint"
"""Name of the rule against overlaps; both databases put it into the error, which is how it is recognised."""

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware time in UTC as text of fixed width, which sorts and compares the same in both databases."""

    impl = sa.String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Write microseconds in UTC."""
        return None if value is None else value.astimezone(UTC).strftime(_TIME_FORMAT)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Read microseconds in UTC."""
        return None if value is None else datetime.strptime(value, _TIME_FORMAT).replace(tzinfo=UTC)


metadata = sa.MetaData()

schema_version = sa.Table("mutx_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))

tenants = sa.Table(
    "mutx_tenant",
    metadata,
    sa.Column("id", sa.String(63), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("block", sa.String(18), nullable=False),
    sa.Column("block_start", sa.BigInteger, nullable=False, index=True),
    sa.Column("block_end", sa.BigInteger, nullable=False),
    sa.Column("zones", sa.Text, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("plan_digest", sa.String(80)),
    sa.Column("outputs", sa.Text, nullable=False),
    sa.Column("vault", sa.Text),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
    sa.CheckConstraint("block_start >= 0 AND block_end <= 4294967295", name="tenant_block_is_ipv4"),
    sa.CheckConstraint("block_start <= block_end", name="tenant_block_has_size"),
)

leases = sa.Table(
    "mutx_lease",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("token", sa.String(64), nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("acquired_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
)

runs = sa.Table(
    "mutx_run",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(32), nullable=False, unique=True),
    sa.Column("tenant", sa.String(63), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("plan_digest", sa.String(80), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Index("mutx_run_by_tenant", "tenant", "sequence"),
)
"""No foreign key to the tenant: the history of runs outlives it."""

steps = sa.Table(
    "mutx_step",
    metadata,
    sa.Column("run", sa.String(32), sa.ForeignKey(runs.c.id), primary_key=True),
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("detail", sa.Text, nullable=False),
)


chain_heads = sa.Table(
    "mutx_history_head",
    metadata,
    sa.Column("tenant", sa.String(63), primary_key=True),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)
"""No foreign key to the tenant: its history outlives it."""


def upgrade(connection: sa.Connection, found: int) -> None:
    """Bring an older schema up to this version, in the caller's transaction."""
    if found < 2:  # noqa: PLR2004 - the version that brought the table
        chain_heads.create(connection)
    if found < 3:  # noqa: PLR2004 - the version that brought the column
        connection.exec_driver_sql("ALTER TABLE mutx_tenant ADD COLUMN vault TEXT")
    connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))


def create(connection: sa.Connection) -> None:
    """Make the tables and rules and note their version, in the caller's transaction."""
    metadata.create_all(connection)
    for statement in (_ONE_OPEN_RUN, *_DISJOINT[connection.dialect.name]):
        connection.exec_driver_sql(statement)
    connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))


def _trigger(event: str) -> str:
    return f"""
        CREATE TRIGGER {OVERLAP}_{event.split(maxsplit=1)[0].lower()} BEFORE {event} ON mutx_tenant
        WHEN EXISTS (
            SELECT 1 FROM mutx_tenant
            WHERE block_start <= NEW.block_end AND block_end >= NEW.block_start AND id <> NEW.id
        )
        BEGIN SELECT RAISE(ABORT, '{OVERLAP}'); END
    """  # noqa: S608 - constants only


# As text, since sa.Index's `sqlite_where` and `postgresql_where` load both dialects: 90 ms at every start.
_ONE_OPEN_RUN = "CREATE UNIQUE INDEX mutx_run_one_open ON mutx_run (tenant) WHERE state = 'running'"
_DISJOINT: dict[str, tuple[str, ...]] = {
    "sqlite": (_trigger("INSERT"), _trigger("UPDATE OF block_start, block_end")),
    "postgresql": (
        (
            f"ALTER TABLE mutx_tenant ADD CONSTRAINT {OVERLAP}"
            " EXCLUDE USING gist (int8range(block_start, block_end, '[]') WITH &&)"
        ),
    ),
}
