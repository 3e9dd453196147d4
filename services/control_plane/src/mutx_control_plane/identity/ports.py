"""What identity asks of whatever keeps accounts, sessions and keys.

Each call is one transaction. Where two callers race, exactly one wins, and the return value says which. Nothing here
ever holds a secret that would let somebody in: tokens, keys and links arrive as hashes. Times are UTC and aware.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from mutx_control_plane.principal import SSOTokenUser
from mutx_control_plane.roles import Role, Scope


@dataclass(frozen=True, slots=True)
class Account:
    """A person's account in one tenant.

    Attributes:
        email: folded to lower case; unique among accounts that have a password. Empty where a provider told none.
        password_hash: argon2's encoded form; empty where the account has no password.
        is_active: an inactive account is nobody: no token, key or password of it is taken.
    """

    id: UUID
    tenant: str
    email: str
    roles: frozenset[Role]
    password_hash: str = ""
    is_active: bool = True


class Accounts(Protocol):
    """Accounts, local and of providers."""

    async def find(self, account: UUID) -> Account | None:
        """Return an account by its id."""

    async def find_local(self, email: str) -> Account | None:
        """Return the account of a folded e-mail address that may sign in with a password; others never."""

    async def ensure_sso(self, user: SSOTokenUser, now: datetime) -> Account:
        """Return the account of (issuer, subject, tenant), made where there is none.

        Its roles become the token's, and its e-mail where the token has one. That an account of another kind has the
        same e-mail changes nothing: it identifies nobody. An inactive account is returned as it is.
        """

    async def replace_password_hash(self, account: UUID, old: str, new: str) -> bool:
        """Put `new` in the place of `old`; False where another hash, or no account, is there by now."""


@dataclass(frozen=True, slots=True)
class SetupLink:
    """A link with which an account's password is set once. The hash is SHA-256 of the link's secret."""

    secret_hash: bytes
    account: UUID
    expires: datetime


class SetupLinks(Protocol):
    """Links of accounts; an account has one at most."""

    async def put(self, link: SetupLink) -> None:
        """Keep a link; the account's earlier one is void."""

    async def find(self, secret_hash: bytes, now: datetime) -> Account | None:
        """Return the active account of a link that was not used and has not expired."""

    async def use(self, secret_hash: bytes, password_hash: str, now: datetime) -> bool:
        """Set the password and void the link; False where the link was used, is void or has expired."""


@dataclass(frozen=True, slots=True)
class Family:
    """One sign-in, and every refresh token that came of it.

    Attributes:
        generation: of the newest refresh token; the first has 0.
        expires: whatever is refreshed, the session ends then.
        ended: when it was signed out or revoked.
    """

    id: UUID
    account: UUID
    started: datetime
    expires: datetime
    generation: int = 0
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token, by the SHA-256 of it.

    Attributes:
        used: when its successor was made; None for the newest of the family.
    """

    token_hash: bytes
    family: UUID
    generation: int
    expires: datetime
    used: datetime | None = None


class Sessions(Protocol):
    """Refresh families. Used tokens stay as long as their family: by them re-use is seen."""

    async def start(self, family: Family, first: RefreshToken) -> None:
        """Keep a new family and its first token."""

    async def find(self, token_hash: bytes) -> tuple[Family, RefreshToken, Account] | None:
        """Return a token with its family and account, whatever their state."""

    async def rotate(self, token_hash: bytes, successor: RefreshToken, now: datetime) -> bool:
        """Mark a token used and keep its successor, the family's generation becoming the successor's.

        False, and nothing changes, where the token was used before or its family has ended.
        """

    async def end(self, family: UUID, now: datetime) -> bool:
        """End a family; False where it had ended."""

    async def end_all(self, account: UUID, now: datetime) -> int:
        """End every family of an account; return how many there were."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it is kept: the secret part by its MAC, and the whole sealed.

    Attributes:
        prefix: what it is looked up by and listed as; unique.
        mac: HMAC-SHA-256 of the whole key.
        pepper: id of the MAC's key.
        sealed: the whole key under Vault's transit or `SECRET_ENCRYPTION_KEY`; a new MAC is made of it when the pepper
            changes. Nobody is shown it.
        expires: None for a key without an end, where the deployment permits one.
        last_used: to the minute at best.
    """

    id: UUID
    account: UUID
    tenant: str
    name: str
    prefix: str
    mac: bytes
    pepper: str
    sealed: str
    scopes: frozenset[Scope]
    created: datetime
    expires: datetime | None
    last_used: datetime | None = None
    revoked: datetime | None = None


class ApiKeys(Protocol):
    """API keys."""

    async def add(self, key: ApiKey) -> bool:
        """Keep a key; False where there is one of its prefix."""

    async def find(self, prefix: str) -> tuple[ApiKey, Account] | None:
        """Return the key of a prefix and its account, whatever their state."""

    async def list_of(self, account: UUID) -> Sequence[ApiKey]:
        """Return an account's keys, the newest first."""

    async def revoke(self, account: UUID, key: UUID, now: datetime) -> bool:
        """Revoke a key of this account; False where it has none of that id. To revoke one again changes nothing."""

    async def touch(self, key: UUID, now: datetime) -> None:
        """Note that a key was used; an earlier time than the noted one changes nothing."""

    async def rekey(self, old: ApiKey, new: ApiKey) -> bool:
        """Put the MAC, pepper and sealed copy of `new` in the place of `old`'s; False where `old`'s are not there."""
