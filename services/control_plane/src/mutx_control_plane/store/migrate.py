"""Bringing the database to the schema of this version, while others serve from it; and refusing one that it is not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import InsufficientPrivilege, LockNotAvailable
from sqlalchemy import exc as sql

from mutx_control_plane.store.bootstrap import APP_ROLE, OWNER_ROLE
from mutx_control_plane.store.errors import StoreError
from mutx_control_plane.store.urls import driver_url, shown

logger = logging.getLogger(__name__)

LOCK_TIMEOUT_S = 2
"""How long a step waits for a table: whoever comes to the table meanwhile waits behind the step."""
TRIES = 10
"""How often a step that did not get its table is tried."""
_PAUSE_S = 1.0
_QUEUE_S = 600
_ADVISORY_LOCK = 7089900865
_FOLDER = Path(__file__).parent / "migrations"


def upgrade(url: str, revision: str = "head") -> None:
    """Go up to a revision, one process at a time; what has been done already is left alone.

    The URL is of a login that is `OWNER_ROLE`, a member of it, or an administrator.

    Raises:
        StoreError: roles or their rights are missing (`roles-missing`, `rights-missing`), a newer version made the
            schema (`schema-too-new`), a table stays locked (`schema-locked`), or the server is not there
            (`database-unreachable`).
    """
    _migrate(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> None:
    """Go down to a revision, `base` for none. What the later ones kept is lost. Raises as `upgrade`."""
    _migrate(url, lambda config: command.downgrade(config, revision))


def check(connection: sa.Connection) -> None:
    """Refuse a database that this version cannot serve from, or a role that sees more than its tenant.

    Raises:
        StoreError: `schema-missing`, `schema-behind`, `schema-too-new` or `role-too-strong`.
    """
    found, script = _revision(connection), _script()
    wanted = script.get_current_head()
    if found is None:
        raise StoreError(
            "the database has no schema",
            code="schema-missing",
            remedy="run `mutx-control-plane database upgrade` as the owner",
        )
    _refuse_unknown(script, found)
    if found != wanted:
        raise StoreError(
            f"the database has schema {found}, and this version needs {wanted}",
            code="schema-behind",
            remedy="run `mutx-control-plane database upgrade` as the owner",
        )
    _refuse_strong_role(connection)


def _migrate(url: str, work: Callable[[Config], None]) -> None:
    engine = sa.create_engine(driver_url(url), poolclass=sa.NullPool, connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection, _alone(connection):
            found = _revision(connection)
            if found is not None:
                _refuse_unknown(_script(), found)
            _run_patiently(connection, work)
    except sql.OperationalError as exc:
        raise StoreError(
            f"the database at {shown(url)} cannot be used: {' '.join(str(exc.orig).split())}",
            code="database-unreachable",
            remedy="check that the server runs, and that the URL names it",
        ) from exc
    except sql.ProgrammingError as exc:
        if not isinstance(exc.orig, InsufficientPrivilege):
            raise
        raise StoreError(
            f"the login of {shown(url)} may not change the schema as {OWNER_ROLE}",
            code="rights-missing",
            remedy=f"use a member of {OWNER_ROLE}; let an administrator run what"
            " `mutx-control-plane database bootstrap` prints, within this database",
        ) from exc


@contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    """Hold the advisory lock of migrations, as the owner; whoever else migrates waits."""
    _become_owner(connection)
    connection.exec_driver_sql(f"SET lock_timeout = '{_QUEUE_S}s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({_ADVISORY_LOCK})")
    connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS mutx")
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA mutx TO {APP_ROLE}")
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
    connection.commit()
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.rollback()
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_ADVISORY_LOCK})")
            connection.commit()


def _become_owner(connection: sa.Connection) -> None:
    roles = sa.text("SELECT count(*) FROM pg_roles WHERE rolname IN (:owner, :app)")
    if connection.execute(roles, {"owner": OWNER_ROLE, "app": APP_ROLE}).scalar_one() != len(
        (OWNER_ROLE, APP_ROLE)
    ):
        raise StoreError(
            f"the server does not have the roles {OWNER_ROLE} and {APP_ROLE}",
            code="roles-missing",
            remedy="let an administrator run what `mutx-control-plane database bootstrap` prints",
        )
    connection.exec_driver_sql(f"SET ROLE {OWNER_ROLE}")


def _run_patiently(connection: sa.Connection, work: Callable[[Config], None]) -> None:
    config = _config()
    config.attributes["connection"] = connection
    for tried in range(1, TRIES + 1):
        try:
            work(config)
            connection.commit()
        except sql.OperationalError as exc:
            if not isinstance(exc.orig, LockNotAvailable):
                raise
            connection.rollback()
            logger.info("a table is in use, the step is tried again", extra={"tried": tried})
            time.sleep(_PAUSE_S)
        else:
            return
    raise StoreError(
        f"a table stayed locked through {TRIES} tries",
        code="schema-locked",
        remedy="see pg_stat_activity for a long transaction, end it, and run the upgrade again",
    )


def _revision(connection: sa.Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table_schema": "mutx"})
    return context.get_current_revision()


def _refuse_unknown(script: ScriptDirectory, found: str) -> None:
    if found not in {revision.revision for revision in script.walk_revisions()}:
        raise StoreError(
            f"the database has schema {found}, which this version does not know",
            code="schema-too-new",
            remedy="start the version of the service that made it, or a newer one",
        )


def _refuse_strong_role(connection: sa.Connection) -> None:
    strong = sa.text(
        "SELECT rolname FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)"
        " UNION SELECT current_user FROM pg_class WHERE relnamespace = 'mutx'::regnamespace"
        " AND pg_has_role(current_user, relowner, 'MEMBER')"
    )
    found = connection.execute(strong).scalar()
    if found is not None:
        raise StoreError(
            f"the role {found} is not bound to one tenant: it owns the tables or passes by row level security",
            code="role-too-strong",
            remedy=f"let the service log in as {APP_ROLE}, or as a member of it alone",
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
