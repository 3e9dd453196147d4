"""The two roles that the database is used by. What an administrator of a shared server runs once, as SQL."""

from __future__ import annotations

import psycopg

OWNER_ROLE = "mutx_owner"
"""Owns the schema and runs the migrations. Row level security holds for it too."""
APP_ROLE = "mutx_app"
"""What the service is: it owns nothing, so no statement of it changes a table or a policy."""
_MAY_MAKE_SCHEMA = (
    f"DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {OWNER_ROLE}', current_database()); END $$;"
)


def bootstrap_sql(*, can_log_in: bool = False) -> str:
    """Return the statements, for an administrator within the control plane's database; they may be run again.

    Args:
        can_log_in: False where login roles of their own are members of the two (Vault's database engine makes such).
    """
    login = "LOGIN" if can_log_in else "NOLOGIN"
    return "\n".join([*(_role(role, login) for role in (OWNER_ROLE, APP_ROLE)), _MAY_MAKE_SCHEMA])


def bootstrap(server: psycopg.Connection, *, can_log_in: bool = False) -> None:
    """Make the roles where they are missing."""
    server.execute(bootstrap_sql(can_log_in=can_log_in).encode())


def _role(role: str, login: str) -> str:
    options = f"{login} NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE"
    return (
        f"DO $$ BEGIN CREATE ROLE {role} {options};"
        " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
    )
