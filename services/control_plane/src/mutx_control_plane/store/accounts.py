"""Accounts and the links that set their passwords: what identity asks for, and what administrators do."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from mutx_service.problem import Problem
from sqlalchemy.dialects.postgresql import insert

from mutx_control_plane.identity.ports import Account, SetupLink
from mutx_control_plane.principal import SSOTokenUser
from mutx_control_plane.roles import Role
from mutx_control_plane.store.database import Database, Proof
from mutx_control_plane.store.event import Origin, user
from mutx_control_plane.store.paging import Ask, Page, timed_page
from mutx_control_plane.store.refusals import refusing
from mutx_control_plane.store.schema import accounts, setup_links, tenants
from mutx_control_plane.store.transaction import Transaction

ANONYMOUS = "anonymous"
_CURSOR = "u"
_EMAIL_TAKEN = {"accounts_local_email": ("name-taken", "another account signs in with this e-mail address")}
_CREATE_REFUSALS = {
    **_EMAIL_TAKEN,
    "accounts_tenant_fkey": ("not-found", "there is no such tenant"),
    "accounts_email_is_folded": ("request-invalid", "the e-mail address has capital letters"),
}

WITH_TENANT = accounts.join(tenants, tenants.c.id == accounts.c.tenant)
ACCOUNT_COLUMNS = (
    accounts.c.id.label("account_id"),
    accounts.c.tenant.label("account_tenant"),
    accounts.c.email,
    accounts.c.password_hash,
    accounts.c.roles,
    sa.and_(accounts.c.is_active, tenants.c.is_active).label("counts"),
)
"""What an account is made of. That of a tenant which is not active is not active either."""


class StoredAccounts:
    """`identity.ports.Accounts`.

    Args:
        origin: says where the request that is being served comes from.
        new_id: makes ids of new accounts.
    """

    def __init__(self, database: Database, origin: Callable[[], Origin], new_id: Callable[[], UUID]) -> None:
        self._database, self._origin, self._new_id = database, origin, new_id

    async def find(self, account: UUID) -> Account | None:
        """Return an account by its id."""
        return await self._database.aprove_read(
            Proof.ACCOUNT, str(account), lambda connection: find(connection, account)
        )

    async def find_local(self, email: str) -> Account | None:
        """Return the account that may sign in with this address and a password."""
        wanted = sa.and_(accounts.c.email == email, accounts.c.password_hash != "")
        return await self._database.aprove_read(
            Proof.EMAIL, email, lambda connection: _one(connection, wanted)
        )

    async def ensure_sso(self, user: SSOTokenUser, now: datetime) -> Account:
        """Return the account of a provider's person, with the token's roles; made where there is none."""
        new_id = self._new_id()
        return await self._database.awrite(
            user.tenant, self._origin(), lambda work: _ensure_sso(work, user, new_id, now)
        )

    async def replace_password_hash(self, account: UUID, old: str, new: str) -> bool:
        """Put `new` in the place of `old`, if that is still there."""

        def work(change: Transaction) -> bool:
            same = sa.and_(accounts.c.id == account, accounts.c.password_hash == old)
            if not change.change(accounts.update().where(same).values(password_hash=new)):
                return False
            change.record("password.rehashed", user(account))
            return True

        origin = by(self._origin(), account)
        return bool(await self._database.aprove_write(Proof.ACCOUNT, str(account), origin, work))


class StoredSetupLinks:
    """`identity.ports.SetupLinks`; `origin` as for `StoredAccounts`."""

    def __init__(self, database: Database, origin: Callable[[], Origin]) -> None:
        self._database, self._origin = database, origin

    async def put(self, link: SetupLink) -> None:
        """Keep a link in the place of the account's earlier one.

        Raises:
            Problem: `not-found`, there is no such account.
        """

        def work(change: Transaction) -> bool:
            put_link(change, link)
            return True

        kept = await self._database.aprove_write(Proof.ACCOUNT, str(link.account), self._origin(), work)
        if not kept:
            raise Problem("not-found")

    async def find(self, secret_hash: bytes, now: datetime) -> Account | None:
        """Return the active account of a link that still holds."""

        def work(connection: sa.Connection) -> Account | None:
            joined = WITH_TENANT.join(setup_links, setup_links.c.account == accounts.c.id)
            query = sa.select(*ACCOUNT_COLUMNS).select_from(joined).where(_holds(secret_hash, now))
            row = connection.execute(query).one_or_none()
            return account_of(row) if row is not None and row.counts else None

        return await self._database.aprove_read(Proof.SETUP_LINK, secret_hash.hex(), work)

    async def use(self, secret_hash: bytes, password_hash: str, now: datetime) -> bool:
        """Set the password and void the link, if it still holds.

        Raises:
            Problem: `name-taken`, another account signs in with the same address.
        """

        def work(change: Transaction) -> bool:
            of_active = sa.and_(setup_links.c.account == accounts.c.id, accounts.c.is_active)
            voided = setup_links.delete().where(_holds(secret_hash, now), of_active)
            row = change.change_one(voided.returning(setup_links.c.account))
            if row is None:
                return False
            with refusing(_EMAIL_TAKEN):
                mine = accounts.c.id == row.account
                change.change(accounts.update().where(mine).values(password_hash=password_hash))
            change.origin = by(change.origin, row.account)
            change.record("password.set", user(row.account))
            return True

        return bool(
            await self._database.aprove_write(Proof.SETUP_LINK, secret_hash.hex(), self._origin(), work)
        )


def find(connection: sa.Connection, account: UUID) -> Account | None:
    """Return an account of the tenant."""
    return _one(connection, accounts.c.id == account)


def page(connection: sa.Connection, ask: Ask) -> Page[Account]:
    """Return accounts of the tenant, the newest first."""
    query = sa.select(*ACCOUNT_COLUMNS, accounts.c.created_at, accounts.c.id).select_from(WITH_TENANT)
    return timed_page(connection, query, accounts.c.created_at, accounts.c.id, ask, _CURSOR, account_of)


def create(change: Transaction, account: Account, now: datetime) -> None:
    """Keep a new account of the tenant, which signs in with a password once it has one.

    Raises:
        Problem: `name-taken`; `not-found`, there is no such tenant; `request-invalid`, the address is not folded.
    """
    with refusing(_CREATE_REFUSALS):
        change.change(
            accounts.insert().values(
                id=account.id, tenant=change.tenant, email=account.email, password_hash=account.password_hash,
                roles=_words(account.roles), is_active=account.is_active, created_at=now,
            )
        )  # fmt: skip
    change.record("account.created", user(account.id), {"roles": " ".join(_words(account.roles))})


def update(change: Transaction, account: UUID, *, roles: Collection[Role], is_active: bool) -> Account:
    """Give an account other roles, or end or restore it.

    Raises:
        Problem: `not-found`.
    """
    values = {"roles": _words(roles), "is_active": is_active}
    if not change.change(accounts.update().where(accounts.c.id == account).values(values)):
        raise Problem("not-found")
    change.record(
        "account.changed", user(account), {"roles": " ".join(_words(roles)), "is_active": is_active}
    )
    found = find(change.connection, account)
    if found is None:
        raise Problem("not-found")
    return found


def put_link(change: Transaction, link: SetupLink) -> None:
    """Keep a set-up link of an account of the tenant; its earlier one is void."""
    values = {"secret_hash": link.secret_hash, "expires_at": link.expires}
    kept = insert(setup_links).values(tenant=change.tenant, account=link.account, **values)
    change.change(kept.on_conflict_do_update(index_elements=[setup_links.c.account], set_=values))
    change.record("setup-link.made", user(link.account))


def account_of(row: sa.Row[Any]) -> Account:
    """Return the account that a row with `ACCOUNT_COLUMNS` tells of."""
    roles = frozenset(map(Role, row.roles))
    return Account(row.account_id, row.account_tenant, row.email, roles, row.password_hash, row.counts)


def by(origin: Origin, account: UUID) -> Origin:
    """Return an origin whose actor, where nobody has been proven yet, is the account's person."""
    return replace(origin, actor=user(account)) if origin.actor == ANONYMOUS else origin


def _ensure_sso(change: Transaction, person: SSOTokenUser, new_id: UUID, now: datetime) -> Account:
    same = sa.and_(accounts.c.issuer == person.issuer, accounts.c.subject == person.subject)
    found = _one(change.connection, same)
    if found is None:
        made = insert(accounts).values(
            id=new_id, tenant=change.tenant, issuer=person.issuer, subject=person.subject, email=person.email,
            password_hash="", roles=_words(person.roles), is_active=True, created_at=now,
        )  # fmt: skip
        with refusing({"accounts_tenant_fkey": ("sign-in-failed", "the tenant is not known here")}):
            if change.change(made.on_conflict_do_nothing(constraint="accounts_provider_key")):
                change.record("account.created", user(new_id), {"roles": " ".join(_words(person.roles))})
        found = _one(change.connection, same)
    if found is None:
        raise Problem("sign-in-failed", "the account could not be made")
    change.origin = by(change.origin, found.id)
    wanted = replace(found, roles=person.roles, email=person.email or found.email)
    if wanted == found or not found.is_active:
        return found
    values = {"roles": _words(wanted.roles), "email": wanted.email}
    change.change(accounts.update().where(accounts.c.id == found.id).values(values))
    change.record("account.changed", user(found.id), {"roles": " ".join(_words(wanted.roles))})
    return wanted


def _one(connection: sa.Connection, wanted: sa.ColumnElement[bool]) -> Account | None:
    query = sa.select(*ACCOUNT_COLUMNS).select_from(WITH_TENANT).where(wanted)
    row = connection.execute(query).one_or_none()
    return None if row is None else account_of(row)


def _holds(secret_hash: bytes, now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(setup_links.c.secret_hash == secret_hash, setup_links.c.expires_at > now)


def _words(roles: Collection[Role]) -> list[str]:
    return sorted(map(str, roles))
