"""API keys, by the MAC of them and a sealed copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from mutx_control_plane.identity.ports import Account, ApiKey
from mutx_control_plane.roles import Scope
from mutx_control_plane.store.accounts import ACCOUNT_COLUMNS, WITH_TENANT, account_of, by
from mutx_control_plane.store.database import Database, Proof
from mutx_control_plane.store.event import Origin
from mutx_control_plane.store.schema import accounts, api_keys
from mutx_control_plane.store.transaction import Transaction

USE_NOTED_EVERY = timedelta(minutes=1)
"""So that a busy key costs one write a minute, not one a request."""


class StoredApiKeys:
    """`identity.ports.ApiKeys`; `origin` says where the request that is being served comes from."""

    def __init__(self, database: Database, origin: Callable[[], Origin]) -> None:
        self._database, self._origin = database, origin

    async def add(self, key: ApiKey) -> bool:
        """Keep a key; False where there is one of its prefix."""

        def work(change: Transaction) -> bool:
            kept = insert(api_keys).values(_row(key)).on_conflict_do_nothing(constraint="api_keys_prefix_key")
            if not change.change(kept):
                return False
            change.record("api-key.made", _name(key.id), {"scopes": " ".join(_row(key)["scopes"])})
            return True

        return await self._database.awrite(key.tenant, self._origin(), work)

    async def find(self, prefix: str) -> tuple[ApiKey, Account] | None:
        """Return the key of a prefix and its account."""

        def work(connection: sa.Connection) -> tuple[ApiKey, Account] | None:
            joined = WITH_TENANT.join(api_keys, api_keys.c.account == accounts.c.id)
            query = sa.select(api_keys, *ACCOUNT_COLUMNS).select_from(joined)
            row = connection.execute(query.where(api_keys.c.prefix == prefix)).one_or_none()
            return None if row is None else (_key(row), account_of(row))

        return await self._database.aprove_read(Proof.KEY_PREFIX, prefix, work)

    async def list_of(self, account: UUID) -> Sequence[ApiKey]:
        """Return an account's keys, the newest first."""
        query = sa.select(api_keys).where(api_keys.c.account == account)
        newest = query.order_by(api_keys.c.created_at.desc(), api_keys.c.id)
        found = await self._database.aprove_read(
            Proof.ACCOUNT,
            str(account),
            lambda connection: tuple(map(_key, connection.execute(newest))),
        )
        return found or ()

    async def revoke(self, account: UUID, key: UUID, now: datetime) -> bool:
        """Revoke a key of the account, from now on or from when it was; False where it has none of that id."""

        def work(change: Transaction) -> bool:
            mine = sa.and_(api_keys.c.id == key, api_keys.c.account == account)
            valid = sa.and_(mine, api_keys.c.revoked_at.is_(None))
            if change.change(api_keys.update().where(valid).values(revoked_at=now)):
                change.record("api-key.revoked", _name(key))
                return True
            return change.connection.execute(sa.select(api_keys.c.id).where(mine)).one_or_none() is not None

        return bool(await self._database.aprove_write(Proof.ACCOUNT, str(account), self._origin(), work))

    async def touch(self, key: UUID, now: datetime) -> None:
        """Note, and audit, that a key was used; of all who do so within a minute the first does."""

        def work(change: Transaction) -> None:
            earlier = sa.or_(
                api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= now - USE_NOTED_EVERY
            )
            noted = api_keys.update().where(api_keys.c.id == key, earlier).values(last_used_at=now)
            row = change.change_one(noted.returning(api_keys.c.account))
            if row is not None:
                change.origin = by(change.origin, row.account)
                change.record("api-key.used", _name(key))

        await self._database.aprove_write(Proof.KEY, str(key), self._origin(), work)

    async def rekey(self, old: ApiKey, new: ApiKey) -> bool:
        """Put what `new` is sealed and proven by in the place of `old`'s, if that is still there."""

        def work(change: Transaction) -> bool:
            columns = api_keys.c
            same = sa.and_(
                columns.id == old.id,
                columns.mac == old.mac,
                columns.pepper == old.pepper,
                columns.sealed == old.sealed,
            )
            values = {"mac": new.mac, "pepper": new.pepper, "sealed": new.sealed}
            if not change.change(api_keys.update().where(same).values(values)):
                return False
            change.record("api-key.rekeyed", _name(old.id))
            return True

        return await self._database.awrite(old.tenant, self._origin(), work)


def _name(key: UUID) -> str:
    return f"api-key:{key}"


def _row(key: ApiKey) -> dict[str, Any]:  # Any: each column's own type
    return {
        "id": key.id, "tenant": key.tenant, "account": key.account, "name": key.name, "prefix": key.prefix,
        "mac": key.mac, "pepper": key.pepper, "sealed": key.sealed, "scopes": sorted(map(str, key.scopes)),
        "created_at": key.created, "expires_at": key.expires, "last_used_at": key.last_used, "revoked_at": key.revoked,
    }  # fmt: skip


def _key(row: sa.Row[Any]) -> ApiKey:
    return ApiKey(
        row.id, row.account, row.tenant, row.name, row.prefix, row.mac, row.pepper, row.sealed,
        frozenset(map(Scope, row.scopes)), row.created_at, row.expires_at, row.last_used_at, row.revoked_at,
    )  # fmt: skip
