"""Local accounts: passwords by argon2id (RFC 9106), and links with which one is set once.

An account that does not exist costs the same work as a wrong password. Hashing takes tens of megabytes and a core, so
it runs on a few threads, and what would wait too long for one is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from mutx_service.problem import Problem

from mutx_control_plane.identity.encoding import encode_base64url
from mutx_control_plane.identity.password_rules import check_new_password, is_possible, normalise
from mutx_control_plane.identity.ports import Account, Accounts, SetupLink, SetupLinks
from mutx_control_plane.identity.sources import Sources

LINK_LASTS = timedelta(hours=24)
_LINK = re.compile(r"[A-Za-z0-9_-]{43}")
_EMAIL = re.compile(r"[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,189}")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash costs; RFC 9106's second choice, for where memory is not plenty.

    Attributes:
        threads: that hash at once.
        waiting: that may wait for one; another is refused.
    """

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4
    threads: int = 2
    waiting: int = 32


class Hasher:
    """argon2id on a few threads. For one event loop."""

    def __init__(self, cost: Cost | None = None) -> None:
        cost = cost or Cost()
        self._argon2 = PasswordHasher(
            time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes
        )
        self._pool = ThreadPoolExecutor(cost.threads, "argon2")
        self._most, self._running = cost.threads + cost.waiting, 0
        self._nobodys = ""

    async def hash(self, password: str) -> str:
        """Return the encoded hash.

        Raises:
            Problem: `rate-limited`, where too many wait.
        """
        return await self._run(lambda: self._argon2.hash(normalise(password)))

    async def verify(self, encoded: str, password: str) -> bool:
        """Say whether a password is the one that was hashed; an empty `encoded` is nobody's, and takes as long.

        Raises:
            Problem: `rate-limited`, where too many wait.
        """
        return await self._run(lambda: self._verify(encoded, normalise(password)))

    def is_outdated(self, encoded: str) -> bool:
        """Say whether a hash was made at another cost than a new one's."""
        return self._argon2.check_needs_rehash(encoded)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, encoded: str, plain: str) -> bool:
        if not encoded and not self._nobodys:
            self._nobodys = self._argon2.hash("nobody's password")
        try:
            self._argon2.verify(encoded or self._nobodys, plain)
        except (VerificationError, InvalidHashError):
            return False
        return bool(encoded)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._running >= self._most:
            raise Problem("rate-limited", retry_after_s=5)
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._running -= 1


class PasswordDesk:
    """Signs in by password, and sets passwords.

    Args:
        accounts: keeps them.
        links: keeps set-up links.
        hasher: hashes.
        sources: time, randomness.
    """

    def __init__(self, accounts: Accounts, links: SetupLinks, hasher: Hasher, sources: Sources) -> None:
        self._accounts, self._links, self._hasher, self._sources = accounts, links, hasher, sources

    async def sign_in(self, email: str, password: str) -> Account:
        """Return the account of an address whose password this is.

        Raises:
            Problem: `sign-in-failed`, whatever is wrong; `rate-limited`, where too many wait.
        """
        folded = fold_email(email)
        if not folded or not is_possible(password):
            raise Problem("sign-in-failed")
        account = await self._accounts.find_local(folded)
        encoded = account.password_hash if account is not None and account.is_active else ""
        if not await self._hasher.verify(encoded, password) or account is None:
            raise Problem("sign-in-failed")
        if self._hasher.is_outdated(encoded):
            await self._renew(account, password)
        return account

    async def change(self, account: Account, password: str, new: str) -> None:
        """Put a new password in the place of the one that is shown.

        Raises:
            Problem: `sign-in-failed`, `request-invalid`, `rate-limited`.
        """
        if not is_possible(password):
            raise Problem("sign-in-failed")
        if not await self._hasher.verify(account.password_hash, password):
            raise Problem("sign-in-failed")
        check_new_password(new, account.email)
        encoded = await self._hasher.hash(new)
        if not await self._accounts.replace_password_hash(account.id, account.password_hash, encoded):
            raise Problem("sign-in-failed")

    async def make_link(self, account: UUID) -> str:
        """Return the secret of a link that sets an account's password once, within a day; an earlier one is void."""
        secret = encode_base64url(self._sources.random_bytes(32))
        await self._links.put(SetupLink(_hash(secret), account, self._sources.now() + LINK_LASTS))
        return secret

    async def set_up(self, secret: str, password: str) -> Account:
        """Set the password of a link's account, and use the link by that. A password that is refused does not.

        Raises:
            Problem: `sign-in-failed` where the link is none, used or over; `request-invalid`, `rate-limited`.
        """
        now = self._sources.now()
        account = await self._links.find(_hash(secret), now) if _LINK.fullmatch(secret) else None
        if account is None:
            raise Problem("sign-in-failed")
        check_new_password(password, account.email)
        encoded = await self._hasher.hash(password)
        if not await self._links.use(_hash(secret), encoded, now):
            raise Problem("sign-in-failed")
        return account

    async def _renew(self, account: Account, password: str) -> None:
        """Hash a password at the present cost; where there is no room, the next sign-in does."""
        with contextlib.suppress(Problem):
            encoded = await self._hasher.hash(password)
            # Where another has changed it meanwhile, that one stays.
            await self._accounts.replace_password_hash(account.id, account.password_hash, encoded)


def fold_email(email: str) -> str:
    """Return an address in the form that accounts are found by; empty where it is none.

    ASCII alone: letters of other scripts may fold to the same ones, and mailboxes are not the same.
    """
    stripped = email.strip()
    return stripped.lower() if _EMAIL.fullmatch(stripped) else ""


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
