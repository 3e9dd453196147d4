"""One database by URL: its files, its transactions, its schema, and its errors in the operator's words.

SQLite serves the processes of one machine, PostgreSQL those of many. Writers queue: on SQLite by
`BEGIN IMMEDIATE`, retried at even intervals (SQLite's own back-off grows, so that newcomers overtake those
who wait longest); on PostgreSQL by an advisory lock, which is first come, first served.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc as sql
from sqlalchemy.pool import NullPool

from mutx_infra.adapters import sql_schema
from mutx_infra.errors import MutxInfraError, OutsideError, SettingsError

WAIT_S = 30.0
"""How long a writer queues before the store counts as unavailable; a transaction takes milliseconds."""

_ADVISORY_LOCK = 0x6D757478_52454749
"""`mutxREGI`: PostgreSQL's advisory locks are numbers shared by all programs of a database."""
_CONNECT_TIMEOUT_S = 5
_RETRY_S = (0.001, 0.006)
_BEGIN = "mutx_begin"
"""Execution option: the statement that opens a transaction on SQLite."""

_Result = TypeVar("_Result")


class SqlStore:
    """A registry database, opened and with its schema in place.

    Args:
        url: `sqlite:///PATH` or `postgresql://…` (psycopg 3).

    Raises:
        SettingsError: the URL is of no use (`registry-url-invalid`), its driver is not installed
            (`registry-driver-missing`), or a newer toolkit made the schema (`registry-too-new`).
        OutsideError: the database cannot be reached (`registry-unavailable`).
    """

    def __init__(self, url: str) -> None:
        self._url = _parse(url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = self._make_engine()
        try:
            self._ensure_schema()
        except MutxInfraError:
            self.close()
            raise

    def read(self, work: Callable[[sa.Connection], _Result]) -> _Result:
        """Return what `work` reads; one consistent view, no lock. May run it again, so it must only read."""
        return self._run(work, begin="BEGIN")

    def write(self, work: Callable[[sa.Connection], _Result]) -> _Result:
        """Run `work` in the exclusive transaction; if it raises, nothing of it stays."""

        def locked(connection: sa.Connection) -> _Result:
            if not self._is_sqlite:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(WAIT_S * 1000)}")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            return work(connection)

        return self._run(locked, begin="BEGIN IMMEDIATE")

    def close(self) -> None:
        """Close the pooled connections."""
        self._engine.dispose()

    def _run(self, work: Callable[[sa.Connection], _Result], *, begin: str) -> _Result:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                options = {_BEGIN: begin}
                with self._engine.connect().execution_options(**options) as connection, connection.begin():
                    return work(connection)
            except sql.IntegrityError:
                raise
            except (sql.DBAPIError, sql.TimeoutError) as exc:
                if not _is_busy(exc) or time.monotonic() > deadline:
                    raise self._unavailable(exc) from exc
                time.sleep(random.uniform(*_RETRY_S))  # noqa: S311 - spreads the waiting; no secret

    def _make_engine(self) -> sa.Engine:
        # Parameters stay out of error texts: outputs and specs are nobody's business in a log.
        if self._is_sqlite:
            self._make_private_file()
            engine = sa.create_engine(
                self._url, poolclass=NullPool, hide_parameters=True, connect_args={"timeout": 0}
            )
            sa.event.listen(engine, "connect", _prepare_sqlite)
            sa.event.listen(engine, "begin", _begin_sqlite)
            return engine
        try:
            return sa.create_engine(
                self._url,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={"connect_timeout": _CONNECT_TIMEOUT_S},
            )
        except ModuleNotFoundError as exc:
            raise SettingsError(
                "the registry is on PostgreSQL, but its driver psycopg is not installed",
                code="registry-driver-missing",
                remedy="install it: `pip install 'mutx-infra[postgres]'`",
            ) from exc

    def _make_private_file(self) -> None:
        """Create the file before SQLite does, so that nobody else can ever read it."""
        path = Path(self._url.database or "")
        try:
            _make_private_directory(path.parent)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
        except OSError as exc:
            raise self._unavailable(exc) from exc

    def _ensure_schema(self) -> None:
        found = self.read(_found_version)
        if found is None:
            if self._is_sqlite:
                # Readers then do not wait for the writer; the file remembers it. Not within a transaction.
                self._run(
                    lambda connection: connection.exec_driver_sql("PRAGMA journal_mode = WAL"), begin=""
                )
            found = self.write(_create_if_missing)
        if found < sql_schema.SCHEMA_VERSION:
            found = self.write(_upgrade_if_older)
        if found > sql_schema.SCHEMA_VERSION:
            raise SettingsError(
                f"the registry has schema version {found}, this mutx-infra knows {sql_schema.SCHEMA_VERSION}",
                code="registry-too-new",
                remedy="update mutx-infra on this machine to the version that the others use",
                detail=f"at {self._shown()}",
            )

    def _unavailable(self, exc: Exception) -> OutsideError:
        cause = exc.orig if isinstance(exc, sql.DBAPIError) and exc.orig is not None else exc
        text = " ".join(str(cause).split())
        for secret in _secrets(self._url):
            text = text.replace(secret, "***")
        return OutsideError(
            f"the registry cannot be used: {text}",
            code="registry-unavailable",
            remedy=_remedy(text, sqlite=self._is_sqlite),
            detail=f"at {self._shown()}",
        )

    def _shown(self) -> str:
        return self._url.set(query={}).render_as_string(hide_password=True)


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
        backend, driver = parsed.get_backend_name(), parsed.drivername.partition("+")[2]
    except (sql.ArgumentError, ValueError):
        raise _bad_url("it cannot be parsed") from None  # the cause would show the password
    if backend == "sqlite" and driver in {"", "pysqlite"}:
        if parsed.database in {None, "", ":memory:"} or str(parsed.database).startswith("file:"):
            raise _bad_url("a registry in memory is forgotten when the command ends")
        return parsed
    if backend == "postgresql" and driver in {"", "psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise _bad_url(f"{parsed.drivername!r} is not supported")


def _bad_url(reason: str) -> MutxInfraError:
    return SettingsError(
        f"the registry's URL cannot be used: {reason}",
        code="registry-url-invalid",
        remedy="set `registry.url` to sqlite:///PATH (one machine) or postgresql://USER@HOST/DATABASE",
    )


def _make_private_directory(directory: Path) -> None:
    """Create what is missing with mode 0700; what exists keeps its mode, since others may rely on it."""
    missing = [d for d in (directory, *directory.parents) if not d.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def _prepare_sqlite(connection: Any, _record: object) -> None:  # Any: the DBAPI has no types  # noqa: ANN401
    # Autocommit in the driver, so that the transactions are ours (SQLAlchemy, "pysqlite: isolation").
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    statement = connection.get_execution_options()[_BEGIN]
    if statement:
        connection.exec_driver_sql(statement)


def _found_version(connection: sa.Connection) -> int | None:
    if not sa.inspect(connection).has_table(sql_schema.schema_version.name):
        return None
    return connection.execute(sa.select(sa.func.max(sql_schema.schema_version.c.version))).scalar()


def _create_if_missing(connection: sa.Connection) -> int:
    found = _found_version(connection)
    if found is None:
        sql_schema.create(connection)
    return found or sql_schema.SCHEMA_VERSION


def _upgrade_if_older(connection: sa.Connection) -> int:
    found = _found_version(connection) or sql_schema.SCHEMA_VERSION
    if found < sql_schema.SCHEMA_VERSION:
        sql_schema.upgrade(connection, found)
        return sql_schema.SCHEMA_VERSION
    return found


def _is_busy(exc: Exception) -> bool:
    """SQLite: another process writes, recovers or switches to WAL just now."""
    text = str(exc.orig) if isinstance(exc, sql.OperationalError) else ""
    return text.startswith(("database is locked", "database table is locked", "database schema is locked"))


def _secrets(url: sa.URL) -> list[str]:
    quoted = url.render_as_string(hide_password=False)
    password = str(url.password or "")
    return [quoted, password] if password else []


_REMEDIES: tuple[tuple[str, str], ...] = (
    ("locked", "another process holds the registry; wait for it, or find it with `fuser` on the file"),
    (
        "lock timeout",
        "another process holds the registry's lock; see pg_stat_activity, then run the command again",
    ),
    ("not a database", "the file is not a registry; check `registry.url`, or restore it from a backup"),
    ("malformed", "the file is damaged; restore it from a backup"),
    ("readonly", "make the file and its directory writable for you"),
    ("Permission denied", "make the file and its directory writable for you"),
    ("authentication failed", "check user and password in `registry.url` of the environment profile"),
    ("does not exist", "create the database and its user first, or correct `registry.url`"),
    ("disk I/O", "check the disk and the space on it, then run the command again"),
    ("full", "free some space on the disk, then run the command again"),
)
_SQLITE_REMEDY = "check the path in `registry.url` of the environment profile, then run the command again"
_SERVER_REMEDY = "check that the server runs and that `registry.url` names it, then run the command again"


def _remedy(text: str, *, sqlite: bool) -> str:
    for sign, remedy in _REMEDIES:
        if sign in text:
            return remedy
    return _SQLITE_REMEDY if sqlite else _SERVER_REMEDY
