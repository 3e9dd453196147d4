"""Sessions: a refresh token that is replaced at each use, and the access tokens that come of it.

A refresh token is 256 bits, kept as SHA-256. Used a second time, it was stolen, or the browser's tabs raced each other;
both have it, and nobody can tell which is the thief, so the whole family ends. Within a grace of some seconds a used
token answers with the family's *newest* token, which is derived of it (HMAC under a key of ours) and so can be told
again without being kept. A sibling of its own instead would leave a thief who was quick with a session beside the
owner's that nobody ever sees; so, thief and owner hold one token, and the next use but one ends both.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from mutx_service.problem import Problem

from mutx_control_plane.identity.access_tokens import AccessToken, AccessTokens
from mutx_control_plane.identity.encoding import encode_base64url
from mutx_control_plane.identity.ports import Account, Family, RefreshToken, Sessions
from mutx_control_plane.identity.secret_keys import SecretKeys
from mutx_control_plane.identity.sources import Sources

REFRESH_LASTS = timedelta(days=7)
"""Of one refresh token (AUTH-2)."""
_FORM = re.compile(r"mutxr_[A-Za-z0-9_-]{43}")
_MOST_STEPS = 16
"""How many tokens of a family may have followed one another within the grace."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a browser gets. The refresh token is for its HttpOnly cookie, until `expires`."""

    account: Account
    access: AccessToken
    refresh: str
    expires: datetime

    def __repr__(self) -> str:
        return f"SignedIn(account={self.account.id}, ...)"


@dataclass(frozen=True, slots=True)
class SessionRules:
    """Bounds of a session.

    Attributes:
        grace: how long after its use a refresh token still answers.
        longest: of a whole session, however often it is refreshed.
    """

    grace: timedelta = timedelta(seconds=10)
    longest: timedelta = timedelta(days=30)


class SessionDesk:
    """Starts, refreshes and ends sessions.

    Args:
        store: keeps families.
        tokens: makes access tokens.
        keys: of which the key that derives successors is derived.
        sources: time, ids, randomness.
        on_reuse: is told of a family that ends because an old token came.
        rules: bounds.
    """

    def __init__(
        self,
        store: Sessions,
        tokens: AccessTokens,
        keys: SecretKeys,
        sources: Sources,
        on_reuse: Callable[[Family], Awaitable[None]],
        rules: SessionRules | None = None,
    ) -> None:
        self._store, self._tokens, self._sources = store, tokens, sources
        self._keys = [key.key for key in keys.derive("refresh-successor")]
        self._on_reuse, self._rules = on_reuse, rules or SessionRules()

    async def start(self, account: Account) -> SignedIn:
        """Return a new session of an account that has just proven itself."""
        now = self._sources.now()
        text = f"mutxr_{encode_base64url(self._sources.random_bytes(32))}"
        family = Family(self._sources.make_id(), account.id, now, now + self._rules.longest)
        first = self._token(text, family, 0, now)
        await self._store.start(family, first)
        return self._signed_in(account, text, first)

    async def refresh(self, text: str) -> SignedIn:
        """Return the session's next tokens; the refresh token that was shown is used by that.

        Raises:
            Problem: `session-ended`, also where the token is none of ours.
        """
        found = await self._find(text)
        if found is None:
            raise Problem("session-ended")
        family, token, account = found
        now = self._sources.now()
        if family.ended is not None or now >= min(family.expires, token.expires):
            raise Problem("session-ended")
        if not account.is_active:
            await self._store.end(family.id, now)
            raise Problem("session-ended")
        if token.used is None:
            following = _successor(self._keys[0], text)
            successor = self._token(following, family, token.generation + 1, now)
            if await self._store.rotate(token.token_hash, successor, now):
                return self._signed_in(account, following, successor)
        return await self._answer_again(text, now)

    async def sign_out(self, text: str) -> Family | None:
        """End the session of a refresh token, whichever of its family; return it where this ended it."""
        found = await self._find(text)
        if found is None or not await self._store.end(found[0].id, self._sources.now()):
            return None
        return found[0]

    async def end_all(self, account: UUID) -> int:
        """End every session of an account; access tokens that are out end within 15 minutes."""
        return await self._store.end_all(account, self._sources.now())

    async def _answer_again(self, text: str, now: datetime) -> SignedIn:
        """Answer a used token: with the newest of its family within the grace, else with the end of the family."""
        found = await self._find(text)
        if found is None or found[0].ended is not None or found[1].used is None:
            raise Problem("session-ended")
        family, token, account = found
        if token.used is not None and now - token.used <= self._rules.grace:
            newest = await self._newest_after(text)
            if newest is not None:
                return self._signed_in(account, *newest)
        if await self._store.end(family.id, now):
            await self._on_reuse(family)
        raise Problem("session-ended")

    async def _newest_after(self, text: str) -> tuple[str, RefreshToken] | None:
        for _ in range(_MOST_STEPS):
            for key in self._keys:
                following = _successor(key, text)
                found = await self._find(following)
                if found is not None:
                    break
            else:
                return None
            if found[1].used is None:
                return following, found[1]
            text = following
        return None

    async def _find(self, text: str) -> tuple[Family, RefreshToken, Account] | None:
        return await self._store.find(_hash(text)) if _FORM.fullmatch(text) else None

    def _token(self, text: str, family: Family, generation: int, now: datetime) -> RefreshToken:
        expires = min(now + REFRESH_LASTS, family.expires)
        return RefreshToken(_hash(text), family.id, generation, expires)

    def _signed_in(self, account: Account, text: str, token: RefreshToken) -> SignedIn:
        return SignedIn(account, self._tokens.issue(account, token.family), text, token.expires)


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _successor(key: bytes, text: str) -> str:
    return f"mutxr_{encode_base64url(hmac.digest(key, text.encode(), sha256))}"
