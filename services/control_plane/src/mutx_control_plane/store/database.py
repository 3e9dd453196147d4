"""The database: bounded connections, one tenant in each transaction, and what callers are told when it is gone.

Calls are synchronous, and `aread`, `awrite` and `aprove` run them in as many threads as there are connections
(docs/decisions/0031 has the figures). Work is a function, since it may be run again: where the server was lost before
the commit was sent, or ended the transaction for the sake of another, nothing of it has stayed. A commit that was sent
and not answered is never tried again.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
import sqlalchemy as sa
from mutx_service.problem import Problem
from psycopg import errors
from sqlalchemy import exc as sql

from mutx_control_plane.store import audit, migrate
from mutx_control_plane.store.event import Origin
from mutx_control_plane.store.transaction import Transaction
from mutx_control_plane.store.urls import driver_url

logger = logging.getLogger(__name__)

TRIES = 4
"""How often work is tried whose transaction the server ended for the sake of another, or whose connection was lost."""
_RETRY_S = (0.005, 0.025)
_BEGIN = "mutx_begin"
"""Execution option: what opens the transaction."""
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ENTER = sa.text("SELECT set_config('mutx.tenant', coalesce(mutx.tenant_of(:kind, :proof), ''), true)")

_Result = TypeVar("_Result")


class Proof(StrEnum):
    """What is unique over all tenants, and is shown by who does not say which tenant's they are."""

    ACCOUNT = "account"
    EMAIL = "email"
    SETUP_LINK = "setup-link"
    FAMILY = "family"
    REFRESH_TOKEN = "refresh-token"  # noqa: S105 - a name, no secret
    KEY_PREFIX = "key-prefix"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what a service asks of its database.

    Attributes:
        connections: of one process, at most.
        wait_s: how long a request waits for one of them.
        lock_s: how long a statement waits for somebody else's lock.
        statement_s: how long a statement runs.
        connect_s: how long opening a connection takes, and how long sent data may stay unacknowledged.
    """

    connections: int = 8
    wait_s: float = 5.0
    lock_s: float = 3.0
    statement_s: float = 5.0
    connect_s: int = 5


class Database:
    """One PostgreSQL, as the service's role.

    Args:
        url: `postgresql://…`; the role has to be bound by row level security, which `open` checks.
    """

    def __init__(self, url: str, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._engine = _make_engine(url, limits)
        self._places = anyio.Semaphore(limits.connections)
        self._threads = anyio.CapacityLimiter(limits.connections)

    def open(self, today: date) -> None:
        """Check that the schema is this version's and the role no stronger than it should be; have months for audit.

        Raises:
            StoreError: as `migrate.check`.
            Problem: `store-unavailable`.
        """
        self._run(_WRITE, migrate.check)
        self.maintain(today)

    def maintain(self, today: date) -> None:
        """Have places for the audit of the coming two months; to be called daily. Raises as `read`."""
        self._run(_WRITE, lambda connection: audit.make_months(connection, today))

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()

    def read(self, tenant: str, work: Callable[[sa.Connection], _Result]) -> _Result:
        """Return what `work` reads of one tenant, at one moment.

        Raises:
            Problem: `store-unavailable`, or what `work` raises.
        """
        return self._run(_for(tenant, _READ), work)

    def write(self, tenant: str, origin: Origin, work: Callable[[Transaction], _Result]) -> _Result:
        """Run `work` and its audit in one transaction; if it raises, nothing of it stays. Raises as `read`."""
        return self._run(_for(tenant, _WRITE), partial(_audited, work, tenant, origin))

    def prove_read(self, kind: Proof, proof: str, work: Callable[[sa.Connection], _Result]) -> _Result | None:
        """Return what `work` reads in the tenant whose the proof is; None where it is nobody's. Raises as `read`."""
        return self._run(
            _READ, lambda connection: work(connection) if _enter(connection, kind, proof) else None
        )

    def prove_write(
        self, kind: Proof, proof: str, origin: Origin, work: Callable[[Transaction], _Result]
    ) -> _Result | None:
        """Run `work` and its audit in the tenant whose the proof is; None where it is nobody's. Raises as `read`."""

        def entered(connection: sa.Connection) -> _Result | None:
            tenant = _enter(connection, kind, proof)
            return _audited(work, tenant, origin, connection) if tenant else None

        return self._run(_WRITE, entered)

    async def in_thread(self, call: Callable[[], _Result]) -> _Result:
        """Run a call of this object in a thread, once there is a connection for it. A call that began is ended.

        Raises:
            Problem: `store-unavailable` where no connection came free in time, or as the call does.
        """
        try:
            with anyio.fail_after(self._limits.wait_s):
                await self._places.acquire()
        except TimeoutError:
            raise Problem("store-unavailable", "every connection to the database is in use") from None
        try:
            return await anyio.to_thread.run_sync(call, limiter=self._threads)
        finally:
            self._places.release()

    async def aread(self, tenant: str, work: Callable[[sa.Connection], _Result]) -> _Result:
        """As `read`, in a thread."""
        return await self.in_thread(lambda: self.read(tenant, work))

    async def awrite(self, tenant: str, origin: Origin, work: Callable[[Transaction], _Result]) -> _Result:
        """As `write`, in a thread."""
        return await self.in_thread(lambda: self.write(tenant, origin, work))

    async def aprove_read(
        self, kind: Proof, proof: str, work: Callable[[sa.Connection], _Result]
    ) -> _Result | None:
        """As `prove_read`, in a thread."""
        return await self.in_thread(lambda: self.prove_read(kind, proof, work))

    async def aprove_write(
        self, kind: Proof, proof: str, origin: Origin, work: Callable[[Transaction], _Result]
    ) -> _Result | None:
        """As `prove_write`, in a thread."""
        return await self.in_thread(lambda: self.prove_write(kind, proof, origin, work))

    def _run(self, begin: str, work: Callable[[sa.Connection], _Result]) -> _Result:
        for last in range(TRIES, 0, -1):
            try:
                return self._run_once(begin, work)
            except _LostError as lost:
                if last == 1 or not lost.may_retry:
                    logger.warning("the database failed", extra={"reason": type(lost.reason).__name__})
                    raise Problem("store-unavailable", lost.detail) from lost.reason
                time.sleep(random.uniform(*_RETRY_S))  # noqa: S311 - spreads the waiting; no secret
        raise AssertionError("unreachable")

    def _run_once(self, begin: str, work: Callable[[sa.Connection], _Result]) -> _Result:
        is_committing = False
        try:
            with self._engine.connect().execution_options(**{_BEGIN: begin}) as connection:
                with connection.begin() as transaction:
                    result = work(connection)
                    is_committing = True
                    transaction.commit()
                return result
        except (sql.OperationalError, sql.InterfaceError, sql.InternalError, sql.TimeoutError) as exc:
            raise _lost(exc, is_committing=is_committing) from exc
        except (sql.DataError, UnicodeEncodeError) as exc:
            # The driver's words quote the value.
            raise Problem("request-invalid", "a value is not one that can be kept") from exc


class _LostError(Exception):
    """The server, or its willingness, is gone."""

    def __init__(self, reason: Exception, detail: str, *, may_retry: bool) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.may_retry = reason, detail, may_retry


def _lost(exc: Exception, *, is_committing: bool) -> _LostError:
    cause = exc.orig if isinstance(exc, sql.DBAPIError) else None
    if isinstance(cause, errors.SerializationFailure | errors.DeadlockDetected):
        return _LostError(exc, "too many change the same", may_retry=True)
    if isinstance(cause, errors.QueryCanceled | errors.LockNotAvailable):
        return _LostError(exc, "the database took too long", may_retry=False)
    if is_committing:
        return _LostError(exc, "whether the change was made is not known", may_retry=False)
    was_connected = isinstance(exc, sql.DBAPIError) and exc.connection_invalidated
    return _LostError(exc, "", may_retry=was_connected)


def _audited(
    work: Callable[[Transaction], _Result], tenant: str, origin: Origin, connection: sa.Connection
) -> _Result:
    transaction = Transaction(connection, tenant, origin)
    result = work(transaction)
    transaction.close()
    return result


def _enter(connection: sa.Connection, kind: Proof, proof: str) -> str:
    return str(connection.execute(_ENTER, {"kind": kind, "proof": proof}).scalar_one())


def _for(tenant: str, begin: str) -> str:
    if not _LABEL.fullmatch(tenant):
        raise ValueError("a tenant's name is a host label")
    return f"{begin}; SET LOCAL mutx.tenant = '{tenant}'"


def _make_engine(url: str, limits: Limits) -> sa.Engine:
    # Parameters stay out of error texts: hashes and addresses are nobody's business in a log.
    engine = sa.create_engine(
        driver_url(url),
        pool_size=limits.connections,
        max_overflow=0,
        pool_timeout=limits.wait_s,
        pool_use_lifo=True,
        pool_recycle=1800,
        hide_parameters=True,
        # The transactions are ours: one round trip opens them and names the tenant.
        isolation_level="AUTOCOMMIT",
        connect_args={
            "connect_timeout": limits.connect_s,
            "tcp_user_timeout": limits.connect_s * 1000,
            "application_name": "mutx-control-plane",
            "options": f"-c statement_timeout={int(limits.statement_s * 1000)}"
            f" -c lock_timeout={int(limits.lock_s * 1000)} -c timezone=UTC -c synchronous_commit=on"
            f" -c idle_in_transaction_session_timeout={int(limits.statement_s * 2000)}",
        },
    )
    sa.event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options()[_BEGIN])
