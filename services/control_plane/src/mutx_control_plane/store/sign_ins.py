"""Attempts to sign in, each a record of the audit that is kept for a year (AUDIT-1)."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from mutx_control_plane.principal import PLATFORM
from mutx_control_plane.store.accounts import by
from mutx_control_plane.store.database import Database, Proof
from mutx_control_plane.store.event import Origin, user
from mutx_control_plane.store.transaction import Transaction


class StoredSignIns:
    """Notes of who tried; `origin` says where the request that is being served comes from."""

    def __init__(self, database: Database, origin: Callable[[], Origin]) -> None:
        self._database, self._origin = database, origin

    async def note(self, account: UUID | None, method: str, *, is_successful: bool, reason: str = "") -> None:
        """Record an attempt, in the account's tenant; where nobody's account was named, in the platform's.

        Args:
            account: that which was named, whether it was proven or not.
            is_successful: whether it was proven.
            method: `password`, `oidc` or another short name.
            reason: why it failed; a code. Nothing that was typed, since people type passwords into the wrong field.
        """
        origin, action = self._origin(), "sign-in.succeeded" if is_successful else "sign-in.failed"
        detail = {"method": method, "reason": reason}

        def record(change: Transaction, subject: str) -> bool:
            change.record(action, subject, detail, outcome="done" if is_successful else "refused")
            return True

        if account is not None:
            known = by(origin, account) if is_successful else origin
            if await self._database.aprove_write(
                Proof.ACCOUNT, str(account), known, lambda change: record(change, user(account))
            ):
                return
        await self._database.awrite(PLATFORM, origin, lambda change: record(change, "user:unknown"))
