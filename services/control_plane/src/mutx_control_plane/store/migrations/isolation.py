"""What a step says for each table that belongs to tenants: who sees which rows, and what the service may do."""

from __future__ import annotations

from alembic import op

from mutx_control_plane.store.bootstrap import APP_ROLE, OWNER_ROLE

TENANT = "current_setting('mutx.tenant', true)"
"""The tenant of the transaction; empty or null where none was set, which no row has."""


def isolate(table: str, rights: str, *, column: str = "tenant", command: str = "ALL") -> None:
    """Let each tenant see and write its own rows alone, the owner of the table as well, and grant `rights`.

    Args:
        table: within the schema.
        rights: of the service, as GRANT has them.
        column: that names the tenant.
        command: to which of SQL's commands the tenant's setting opens the rows.
    """
    op.execute(f"ALTER TABLE mutx.{table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE mutx.{table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY own_tenant ON mutx.{table} FOR {command} USING ({column} = {TENANT})")
    op.execute(f"GRANT {rights} ON mutx.{table} TO {APP_ROLE}")


def let_owner_read(table: str) -> None:
    """Let functions that run as the owner look for a row in every tenant: `mutx.tenant_of` needs it."""
    op.execute(f"CREATE POLICY owner_reads ON mutx.{table} FOR SELECT TO {OWNER_ROLE} USING (true)")
