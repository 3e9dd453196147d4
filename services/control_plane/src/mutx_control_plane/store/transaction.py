"""A transaction that changes something: it is one tenant's, and says in the same breath who changed what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from mutx_control_plane.store import audit
from mutx_control_plane.store.event import NOTHING, Event, Origin, Scalar


class UnauditedChangeError(Exception):
    """A transaction changed rows and recorded nothing: a defect of ours, and the change is undone."""


class Transaction:
    """What a change is made through.

    Attributes:
        connection: for reading; changes go through `change`.
        tenant: whose rows are seen and written.
    """

    def __init__(self, connection: sa.Connection, tenant: str, origin: Origin) -> None:
        self.connection, self.tenant, self.origin = connection, tenant, origin
        self._events: list[Event] = []
        self._has_changed = False

    def change(self, statement: sa.UpdateBase) -> int:
        """Run an insert, update or delete; return how many rows it changed."""
        # Of an insert SQLAlchemy keeps the count only where it is asked to.
        count = self.connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
        self._has_changed |= count > 0
        return count

    def change_one(self, statement: sa.UpdateBase) -> sa.Row[Any] | None:
        """Run a change that returns its row; None where it found none."""
        row = self.connection.execute(statement).one_or_none()
        self._has_changed |= row is not None
        return row

    def record(
        self, action: str, subject: str, detail: Mapping[str, Scalar] = NOTHING, *, outcome: str = "done"
    ) -> None:
        """Note what happened; it is added to the chain as the last thing, so that its lock is held shortly."""
        self._events.append(Event(action, subject, outcome, detail))

    def close(self) -> None:
        """Write what was noted.

        Raises:
            UnauditedChangeError: something changed and nothing was noted.
        """
        if self._has_changed and not self._events:
            raise UnauditedChangeError
        if self._events:
            audit.append(self.connection, self.tenant, self.origin, self._events)
