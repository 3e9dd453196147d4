"""Identity's ports in memory, and a clock that stands until it is moved.

Each call lets others run first, as a database would, and is then one step that nothing interrupts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import shake_256
from uuid import UUID

from mutx_control_plane.identity.ports import Account, ApiKey, Family, RefreshToken, SetupLink
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.principal import SSOTokenUser
from mutx_control_plane.roles import Role
from token_mint import NOW

ANN = Account(UUID(int=1), "acme", "ann@acme.example", frozenset({Role.DEVELOPER}))
BOB = Account(UUID(int=2), "globex", "bob@globex.example", frozenset({Role.ADMIN}))


class Clock:
    """Time that is set, ids that count, bytes that are as random as the seed."""

    def __init__(self) -> None:
        self.time, self._ids, self._bytes = float(NOW), 100, 0

    def sources(self) -> Sources:
        return Sources(lambda: self.time, lambda: self.time, self.make_id, self.random_bytes)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def make_id(self) -> UUID:
        self._ids += 1
        return UUID(int=self._ids)

    def random_bytes(self, size: int) -> bytes:
        self._bytes += 1
        return shake_256(self._bytes.to_bytes(8)).digest(size)


@dataclass
class MemoryAccounts:
    """Accounts of all tenants."""

    by_id: dict[UUID, Account] = field(default_factory=dict)
    by_subject: dict[tuple[str, str, str], UUID] = field(default_factory=dict)

    def put(self, account: Account) -> Account:
        self.by_id[account.id] = account
        return account

    async def find(self, account: UUID) -> Account | None:
        await asyncio.sleep(0)
        return self.by_id.get(account)

    async def find_local(self, email: str) -> Account | None:
        await asyncio.sleep(0)
        found = [each for each in self.by_id.values() if each.email == email and each.password_hash]
        return found[0] if found else None

    async def ensure_sso(self, user: SSOTokenUser, now: datetime) -> Account:
        await asyncio.sleep(0)
        who = (user.issuer, user.subject, user.tenant)
        found = self.by_id.get(self.by_subject.get(who, UUID(int=0)))
        if found is None:
            found = Account(UUID(int=1_000 + len(self.by_subject)), user.tenant, user.email, user.roles)
            self.by_subject[who] = found.id
        if found.is_active:
            found = replace(found, roles=user.roles, email=user.email or found.email)
        return self.put(found)

    async def replace_password_hash(self, account: UUID, old: str, new: str) -> bool:
        await asyncio.sleep(0)
        found = self.by_id.get(account)
        if found is None or found.password_hash != old:
            return False
        self.put(replace(found, password_hash=new))
        return True


@dataclass
class MemoryLinks:
    """Set-up links."""

    accounts: MemoryAccounts
    by_account: dict[UUID, SetupLink] = field(default_factory=dict)

    async def put(self, link: SetupLink) -> None:
        await asyncio.sleep(0)
        self.by_account[link.account] = link

    async def find(self, secret_hash: bytes, now: datetime) -> Account | None:
        await asyncio.sleep(0)
        return self._find(secret_hash, now)

    async def use(self, secret_hash: bytes, password_hash: str, now: datetime) -> bool:
        await asyncio.sleep(0)
        account = self._find(secret_hash, now)
        if account is None:
            return False
        del self.by_account[account.id]
        self.accounts.put(replace(account, password_hash=password_hash))
        return True

    def _find(self, secret_hash: bytes, now: datetime) -> Account | None:
        for link in self.by_account.values():
            account = self.accounts.by_id[link.account]
            if link.secret_hash == secret_hash and now < link.expires and account.is_active:
                return account
        return None


@dataclass
class MemorySessions:
    """Refresh families."""

    accounts: MemoryAccounts
    families: dict[UUID, Family] = field(default_factory=dict)
    tokens: dict[bytes, RefreshToken] = field(default_factory=dict)

    async def start(self, family: Family, first: RefreshToken) -> None:
        await asyncio.sleep(0)
        self.families[family.id], self.tokens[first.token_hash] = family, first

    async def find(self, token_hash: bytes) -> tuple[Family, RefreshToken, Account] | None:
        await asyncio.sleep(0)
        token = self.tokens.get(token_hash)
        if token is None:
            return None
        family = self.families[token.family]
        return family, token, self.accounts.by_id[family.account]

    async def rotate(self, token_hash: bytes, successor: RefreshToken, now: datetime) -> bool:
        await asyncio.sleep(0)
        token = self.tokens[token_hash]
        family = self.families[token.family]
        if token.used is not None or family.ended is not None:
            return False
        self.tokens[token_hash] = replace(token, used=now)
        self.tokens[successor.token_hash] = successor
        self.families[family.id] = replace(family, generation=successor.generation)
        return True

    async def end(self, family: UUID, now: datetime) -> bool:
        await asyncio.sleep(0)
        found = self.families[family]
        if found.ended is not None:
            return False
        self.families[family] = replace(found, ended=now)
        return True

    async def end_all(self, account: UUID, now: datetime) -> int:
        await asyncio.sleep(0)
        open_ones = [
            each for each in self.families.values() if each.account == account and each.ended is None
        ]
        for each in open_ones:
            self.families[each.id] = replace(each, ended=now)
        return len(open_ones)


@dataclass
class MemoryApiKeys:
    """API keys."""

    accounts: MemoryAccounts
    by_id: dict[UUID, ApiKey] = field(default_factory=dict)
    touches: int = 0

    def put(self, key: ApiKey) -> None:
        self.by_id[key.id] = key

    async def add(self, key: ApiKey) -> bool:
        await asyncio.sleep(0)
        if any(each.prefix == key.prefix for each in self.by_id.values()):
            return False
        self.put(key)
        return True

    async def find(self, prefix: str) -> tuple[ApiKey, Account] | None:
        await asyncio.sleep(0)
        for key in self.by_id.values():
            if key.prefix == prefix:
                return key, self.accounts.by_id[key.account]
        return None

    async def list_of(self, account: UUID) -> list[ApiKey]:
        await asyncio.sleep(0)
        found = [each for each in self.by_id.values() if each.account == account]
        return sorted(found, key=lambda key: key.created, reverse=True)

    async def revoke(self, account: UUID, key: UUID, now: datetime) -> bool:
        await asyncio.sleep(0)
        found = self.by_id.get(key)
        if found is None or found.account != account:
            return False
        self.put(replace(found, revoked=found.revoked or now))
        return True

    async def touch(self, key: UUID, now: datetime) -> None:
        await asyncio.sleep(0)
        self.touches += 1
        found = self.by_id[key]
        self.put(replace(found, last_used=max(now, found.last_used or now)))

    async def rekey(self, old: ApiKey, new: ApiKey) -> bool:
        await asyncio.sleep(0)
        found = self.by_id.get(old.id)
        if found is None or (found.mac, found.pepper, found.sealed) != (old.mac, old.pepper, old.sealed):
            return False
        self.put(replace(found, mac=new.mac, pepper=new.pepper, sealed=new.sealed))
        return True
