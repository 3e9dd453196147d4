"""API keys: `mutx_PREFIX_SECRET`, made once, shown once, kept as a MAC and sealed.

The form is fixed and ends in a checksum (CRC-32), so that scanners of leaked secrets find a key with certainty, and a
text that is none costs no look-up. The checksum keeps no secret: the 256 random bits before it do. What is stored lets
nobody in: the MAC's pepper is not in the database.
"""

from __future__ import annotations

import hmac
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from mutx_service.problem import Problem

from mutx_control_plane.access import check_scope
from mutx_control_plane.identity.jose import TokenRefused
from mutx_control_plane.identity.ports import ApiKey, ApiKeys
from mutx_control_plane.identity.sealing import SealBroken, Sealer
from mutx_control_plane.identity.secret_keys import SecretKeys
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.principal import Method, Principal
from mutx_control_plane.roles import Scope

FORM = re.compile(r"mutx_([a-z0-9]{10})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
"""Of every key, also for scanners."""
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(days=365)
MOST_KEYS = 50
"""Of one account, that are neither revoked nor over."""
_COARSE = timedelta(minutes=1)
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PREFIX, _SECRET, _CHECKSUM = 10, 43, 6
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new key is to be; the name is for its owner."""

    name: str
    scopes: frozenset[Scope]
    lasts: timedelta


class ApiKeyDesk:
    """Makes, checks, lists and revokes keys.

    Args:
        store: keeps them.
        keys: of which the pepper is derived; the first is for new keys.
        sealer: seals the whole key.
        sources: time, ids, randomness.
    """

    def __init__(self, store: ApiKeys, keys: SecretKeys, sealer: Sealer, sources: Sources) -> None:
        self._store, self._sealer, self._sources = store, sealer, sources
        peppers = keys.derive("api-key-pepper")
        self._peppers = {pepper.id: pepper.key for pepper in peppers}
        self._pepper = peppers[0].id

    async def make(self, caller: Principal, wish: Wish) -> tuple[ApiKey, str]:
        """Return a new key and its text, which is never shown again. It reaches no further than its maker.

        Raises:
            Problem: `scope-missing`, `request-invalid` where the wish cannot be met or there are too many.
        """
        for scope in wish.scopes:
            check_scope(caller, scope)
        now = self._sources.now()
        _check_wish(wish)
        if sum(_is_good(key, now) for key in await self._store.list_of(caller.user)) >= MOST_KEYS:
            raise Problem("request-invalid", f"an account has {MOST_KEYS} keys at most; revoke one")
        for _ in range(_TRIES):
            text = make_text(self._sources.random_bytes)
            key = await self._make(caller, wish, text, now)
            if await self._store.add(key):
                return key, text
        raise Problem("defect")

    async def principal_of(self, text: str) -> Principal:
        """Return whom a key names, with the roles that its account has now.

        Raises:
            TokenRefused: it is none of ours, or it is over, revoked, or its account's end.
        """
        if not has_form(text):
            raise TokenRefused("form")
        prefix = prefix_of(text)
        found = await self._store.find(prefix)
        pepper = found[0].pepper if found is not None else self._pepper
        # An unknown prefix takes the same work as a known one.
        mac = self._mac(text, pepper)
        if found is None or not hmac.compare_digest(mac, found[0].mac) or pepper not in self._peppers:
            raise TokenRefused("key-unknown")
        key, account = found
        now = self._sources.now()
        if not _is_good(key, now):
            raise TokenRefused("expired")
        if not account.is_active or account.tenant != key.tenant:
            raise TokenRefused("account")
        if key.last_used is None or now - key.last_used >= _COARSE:
            await self._store.touch(key.id, now)
        return Principal(account.id, account.tenant, account.roles, Method.API_KEY, key.scopes, key=key.id)

    async def list_of(self, account: UUID) -> Sequence[ApiKey]:
        """Return an account's keys, the newest first."""
        return await self._store.list_of(account)

    async def revoke(self, account: UUID, key: UUID) -> None:
        """Revoke a key at once.

        Raises:
            Problem: `not-found`; another account's key is.
        """
        if not await self._store.revoke(account, key, self._sources.now()):
            raise Problem("not-found")

    async def renew_secrets(self, key: ApiKey) -> bool:
        """Bring a key under the pepper and seal in force; the text of it stays the same. False where it was there.

        Raises:
            SealBroken: the sealed copy does not open, or is another key's.
        """
        if key.pepper == self._pepper and self._sealer.is_current(key.sealed):
            return False
        text = (await self._sealer.open(key.sealed, _context(key))).decode()
        if prefix_of(text) != key.prefix:
            raise SealBroken("the text is another key's")
        return await self._store.rekey(key, await self._sealed(key, text))

    async def _make(self, caller: Principal, wish: Wish, text: str, now: datetime) -> ApiKey:
        bare = ApiKey(
            id=self._sources.make_id(),
            account=caller.user,
            tenant=caller.tenant,
            name=wish.name,
            prefix=prefix_of(text),
            mac=b"",
            pepper="",
            sealed="",
            scopes=wish.scopes,
            created=now,
            expires=now + wish.lasts,
        )
        return await self._sealed(bare, text)

    async def _sealed(self, key: ApiKey, text: str) -> ApiKey:
        sealed = await self._sealer.seal(text.encode(), _context(key))
        return replace(key, mac=self._mac(text, self._pepper), pepper=self._pepper, sealed=sealed)

    def _mac(self, text: str, pepper: str) -> bytes:
        return hmac.digest(self._peppers.get(pepper, bytes(32)), text.encode(), sha256)


def make_text(random_bytes: Callable[[int], bytes]) -> str:
    """Return a new key's text: 51 bits of prefix, 256 of secret, 32 of checksum."""
    prefix = _in_base(int.from_bytes(random_bytes(8)) % len(_LETTERS) ** _PREFIX, _LETTERS, _PREFIX)
    body = f"mutx_{prefix}_{_in_base(int.from_bytes(random_bytes(32)), _DIGITS, _SECRET)}"
    return body + _checksum(body)


def has_form(text: str) -> bool:
    """Say whether a text is written as a key, its checksum with it."""
    return FORM.fullmatch(text) is not None and text[-_CHECKSUM:] == _checksum(text[:-_CHECKSUM])


def prefix_of(text: str) -> str:
    """Return what a key is looked up by; empty for what has not a key's form."""
    found = FORM.fullmatch(text)
    return found[1] if found else ""


def _checksum(body: str) -> str:
    return _in_base(zlib.crc32(body.encode()), _DIGITS, _CHECKSUM)


def _in_base(number: int, digits: str, length: int) -> str:
    text = ""
    for _ in range(length):
        number, rest = divmod(number, len(digits))
        text = digits[rest] + text
    return text


def _is_good(key: ApiKey, now: datetime) -> bool:
    return key.revoked is None and (key.expires is None or now < key.expires)


def _context(key: ApiKey) -> str:
    return f"{key.id}|{key.account}|{key.tenant}"


def _check_wish(wish: Wish) -> None:
    errors: list[dict[str, str]] = []
    if not wish.scopes:
        errors.append({"field": "scopes", "message": "names at least one"})
    if not SHORTEST <= wish.lasts <= LONGEST:
        errors.append({"field": "lasts", "message": "is from 5 minutes to 365 days"})
    if not 0 < len(wish.name) <= 64 or not wish.name.isprintable():  # noqa: PLR2004 - as the column's length
        errors.append({"field": "name", "message": "has 1 to 64 printable characters"})
    if errors:
        raise Problem("request-invalid", errors=errors)
