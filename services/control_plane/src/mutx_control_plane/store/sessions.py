"""Sessions: families of refresh tokens, each token used once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from mutx_control_plane.identity.ports import Account, Family, RefreshToken
from mutx_control_plane.store.accounts import ACCOUNT_COLUMNS, WITH_TENANT, account_of, by
from mutx_control_plane.store.database import Database, Proof
from mutx_control_plane.store.event import Origin, user
from mutx_control_plane.store.schema import accounts, refresh_tokens, session_families
from mutx_control_plane.store.transaction import Transaction


class StoredSessions:
    """`identity.ports.Sessions`; `origin` says where the request that is being served comes from."""

    def __init__(self, database: Database, origin: Callable[[], Origin]) -> None:
        self._database, self._origin = database, origin

    async def start(self, family: Family, first: RefreshToken) -> None:
        """Keep a new family and its first token."""

        def work(change: Transaction) -> None:
            change.change(
                session_families.insert().values(
                    id=family.id, tenant=change.tenant, account=family.account, started_at=family.started,
                    expires_at=family.expires, generation=family.generation, ended_at=family.ended,
                )
            )  # fmt: skip
            change.change(_insert(change.tenant, first))
            change.record("session.started", f"session:{family.id}")

        origin = by(self._origin(), family.account)
        await self._database.aprove_write(Proof.ACCOUNT, str(family.account), origin, work)

    async def find(self, token_hash: bytes) -> tuple[Family, RefreshToken, Account] | None:
        """Return a token with its family and account."""

        def work(connection: sa.Connection) -> tuple[Family, RefreshToken, Account] | None:
            joined = WITH_TENANT.join(session_families, session_families.c.account == accounts.c.id).join(
                refresh_tokens, refresh_tokens.c.family == session_families.c.id
            )
            query = sa.select(refresh_tokens, *_FAMILY, *ACCOUNT_COLUMNS).select_from(joined)
            row = connection.execute(query.where(refresh_tokens.c.token_hash == token_hash)).one_or_none()
            if row is None:
                return None
            family = Family(
                row.family, row.account_id, row.started_at, row.family_expires_at, row.newest, row.ended_at
            )
            token = RefreshToken(row.token_hash, row.family, row.generation, row.expires_at, row.used_at)
            return family, token, account_of(row)

        return await self._database.aprove_read(Proof.REFRESH_TOKEN, token_hash.hex(), work)

    async def rotate(self, token_hash: bytes, successor: RefreshToken, now: datetime) -> bool:
        """Mark a token used and keep its successor; False where it was used, or its family has ended."""

        def work(change: Transaction) -> bool:
            family = session_families.c.id == successor.family
            held = sa.select(session_families.c.account, session_families.c.ended_at).where(family)
            # The family's row orders those who rotate and those who end it.
            found = change.connection.execute(held.with_for_update()).one_or_none()
            if found is None or found.ended_at is not None:
                return False
            unused = sa.and_(
                refresh_tokens.c.token_hash == token_hash,
                refresh_tokens.c.family == successor.family,
                refresh_tokens.c.used_at.is_(None),
            )
            if not change.change(refresh_tokens.update().where(unused).values(used_at=now)):
                return False
            change.change(_insert(change.tenant, successor))
            change.change(session_families.update().where(family).values(generation=successor.generation))
            change.origin = by(change.origin, found.account)
            change.record("session.refreshed", f"session:{successor.family}")
            return True

        return bool(
            await self._database.aprove_write(Proof.REFRESH_TOKEN, token_hash.hex(), self._origin(), work)
        )

    async def end(self, family: UUID, now: datetime) -> bool:
        """End a family; False where it had ended."""
        return bool(
            await self._database.aprove_write(
                Proof.FAMILY,
                str(family),
                self._origin(),
                lambda change: _end(change, session_families.c.id == family, f"session:{family}", now) > 0,
            )
        )

    async def end_all(self, account: UUID, now: datetime) -> int:
        """End every family of an account; return how many there were."""
        ended = await self._database.aprove_write(
            Proof.ACCOUNT,
            str(account),
            self._origin(),
            lambda change: _end(change, session_families.c.account == account, user(account), now),
        )
        return ended or 0


def purge(change: Transaction, before: datetime) -> int:
    """Forget the families that expired before a time, with their tokens; return how many there were."""
    count = change.change(session_families.delete().where(session_families.c.expires_at < before))
    if count:
        change.record("session.purged", f"tenant:{change.tenant}", {"count": count})
    return count


_FAMILY = (
    session_families.c.started_at,
    session_families.c.expires_at.label("family_expires_at"),
    session_families.c.generation.label("newest"),
    session_families.c.ended_at,
)


def _end(change: Transaction, wanted: sa.ColumnElement[bool], subject: str, now: datetime) -> int:
    running = sa.and_(wanted, session_families.c.ended_at.is_(None))
    count = change.change(session_families.update().where(running).values(ended_at=now))
    if count:
        change.record("session.ended", subject, {"count": count})
    return count


def _insert(tenant: str, token: RefreshToken) -> sa.Insert:
    return refresh_tokens.insert().values(
        token_hash=token.token_hash, tenant=tenant, family=token.family, generation=token.generation,
        expires_at=token.expires, used_at=token.used,
    )  # fmt: skip
