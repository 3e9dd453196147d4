"""Who changed what of a tenant, when and how: a chain of entries that nobody can change unseen (AUDIT-1).

Entries, plans and states lie in an object store that refuses to delete them for seven years. Each entry holds the
hash of the one before, and the registry, which is another store, holds the newest hash: so a changed, removed or
inserted entry shows, even where somebody rewrote the whole chain.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mutx_infra.buckets import SEVEN_YEARS_DAYS
from mutx_infra.canonical import canonical_json
from mutx_infra.changes import ChangeSet
from mutx_infra.errors import OutsideError, RefusedError, VerificationError
from mutx_infra.ports import ChainHeads, ObjectStore
from mutx_infra.records import ChainHead, Tombstone
from mutx_infra.tenant import TenantSpec

RETENTION_DAYS = SEVEN_YEARS_DAYS
"""AUDIT-1, configuration changes."""
FIRST_LINK = "0" * 64
KIND = "history object"


class Outcome(StrEnum):
    """How an update ended."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Draft(BaseModel):
    """One update, before it has its place in the chain.

    Attributes:
        tenant: whose it is; the tailnet, which is no tenant's, has a name of its own.
        kind: `create`, `rollback`, `destroy`, `harden` or `tailnet`.
        by: user, host and pid of the process.
        error: the error's code and message where the update failed; no secret.
        spec, allocation: as they were, in the words of their time: a later program may know other fields.
    """

    model_config = ConfigDict(frozen=True)

    tenant: str
    kind: str
    by: str
    started_at: datetime
    ended_at: datetime
    outcome: Outcome
    error: str = ""
    spec: dict[str, Any]
    allocation: dict[str, Any]
    plan_digest: str
    changes: ChangeSet = ChangeSet()


class Entry(Draft):
    """One update in the chain.

    Attributes:
        sequence: from 1, without gaps.
        plan: name of the plan's object.
        state: name of the object with the stack's state after the update, gzip; "" where none was read.
        previous: hash of the entry before.
        hash: SHA-256 of this entry's canonical JSON (sorted keys, no white space) without this member.
    """

    sequence: int
    plan: str
    state: str
    previous: str
    hash: str


class History:
    """Appends to and reads the chains of an environment."""

    def __init__(self, store: ObjectStore, heads: ChainHeads) -> None:
        self._store, self._heads = store, heads

    def require_retention(self) -> int | None:
        """Read back for how long the store keeps what is written; None where it cannot refuse a deletion.

        Raises:
            RefusedError: for less than seven years (code `history-retention`).
        """
        days = self._store.retention_days()
        if days is not None and days < RETENTION_DAYS:
            raise RefusedError(
                f"the history store keeps what is written for {days} days, {RETENTION_DAYS} are required",
                code="history-retention",
                remedy="give its bucket Object Lock with a default retention of 7 years in compliance mode",
            )
        return days

    def append(self, draft: Draft, plan: Mapping[str, Any], state: bytes | None) -> Entry:
        """Write one entry with its plan and state. Safe to repeat after a crash at any point of it.

        Args:
            draft: the update.
            plan: as JSON has it.
            state: of the stack afterwards; None where there is none.

        Raises:
            OutsideError: the store cannot be written.
            VerificationError: what stands at the chain's end does not belong there (code `history-broken`).
        """
        head = self._settled_head(draft.tenant)
        planned = canonical_json(plan)
        plan_name = f"{draft.tenant}/plans/{sha256(planned).hexdigest()}.json"
        self._put_same(plan_name, planned)
        state_name = ""
        if state is not None:
            packed = gzip.compress(state, mtime=0)
            state_name = f"{draft.tenant}/states/{sha256(packed).hexdigest()}.json.gz"
            self._put_same(state_name, packed)
        link = {
            "sequence": head.sequence + 1,
            "plan": plan_name,
            "state": state_name,
            "previous": head.hash,
        }
        body = {**draft.model_dump(mode="json"), **link}
        content = {**body, "hash": _hash(body)}
        entry = Entry.model_validate_json(json.dumps(content))
        name = _name(entry.tenant, entry.sequence)
        if not self._store.put_once(name, canonical_json(content)):
            raise OutsideError(
                f"another process has written {name}",
                code="history-conflict",
                remedy="run the same command again",
            )
        self._advance(head, entry)
        return entry

    def entries(self, tenant: str) -> tuple[Entry, ...]:
        """Return a tenant's entries, the oldest first, once the chain was proved whole.

        Raises:
            VerificationError: it is not (code `history-broken`); the detail lists what is wrong.
        """
        read = list(self._read(tenant))
        problems = list(self._problems(tenant, read))
        if problems:
            raise VerificationError(
                f"the history of {tenant} was changed by somebody: {problems[0]}",
                code="history-broken",
                remedy="keep the store and the registry as they are, and find out who wrote to them",
                detail="\n".join(problems[1:]),
            )
        return tuple(found[0] for found in read if not isinstance(found, str))

    def entry(self, tenant: str, sequence: int) -> Entry:
        """Return one entry; see `chosen`."""
        return self.chosen(tenant, sequence)[0]

    def chosen(self, tenant: str, *sequences: int) -> tuple[Entry, ...]:
        """Return entries by number, the chain proved whole once for all of them.

        Raises:
            RefusedError: there is none of such a number (code `history-unknown`).
        """
        found = {entry.sequence: entry for entry in self.entries(tenant)}
        for sequence in sequences:
            if sequence not in found:
                known = f"1 to {max(found)}" if found else "none"
                raise RefusedError(
                    f"{tenant} has no history entry {sequence}",
                    code="history-unknown",
                    remedy=f"entries are {known}; `mutx-infra history list {tenant}` shows them",
                )
        return tuple(found[sequence] for sequence in sequences)

    def spec(self, tenant: str, sequence: int) -> TenantSpec:
        """Return an entry's spec as one of today.

        Raises:
            RefusedError: today's program does not take it any more (code `history-spec-unusable`).
        """
        entry = self.entry(tenant, sequence)
        try:
            return TenantSpec.model_validate_json(json.dumps(entry.spec))
        except ValidationError as exc:
            first = exc.errors()[0]
            raise RefusedError(
                f"the spec of entry {sequence} cannot be used any more: "
                f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}",
                code="history-spec-unusable",
                remedy=f"`mutx-infra history show {tenant} {sequence}` shows it; write a new spec after it",
            ) from exc

    def last(self, tenant: str) -> Entry | None:
        """Return the newest entry that the registry knows, or None; the chain before it is not looked at."""
        head = self._heads.chain_head(tenant)
        content = self._store.get(_name(tenant, head.sequence)) if head is not None else None
        return None if content is None else _parse(content)[0]

    def plan(self, entry: Entry) -> dict[str, Any]:
        """Return an entry's plan as it was written; today's program may know another form of it."""
        return dict(json.loads(self._store.get(entry.plan) or b"{}"))

    def state(self, entry: Entry) -> bytes | None:
        """Return the stack's state after an entry's update."""
        packed = self._store.get(entry.state) if entry.state else None
        return None if packed is None else gzip.decompress(packed)

    def tombstones(self, tenant: str) -> tuple[Tombstone, ...]:
        """Return every object of a tenant's history with the day until which it is locked."""
        return self._store.locked(f"{tenant}/", KIND)

    def mark(self, tenant: str) -> None:
        """Tag what is not tagged yet with the day on which its lock runs out."""
        self._store.mark(f"{tenant}/")

    def problems(self, tenant: str) -> tuple[str, ...]:
        """Return what is wrong with a tenant's chain, in words; nothing for a whole one."""
        return tuple(self._problems(tenant, self._read(tenant)))

    def _problems(self, tenant: str, read: Iterable[tuple[Entry, bool] | str]) -> Iterator[str]:
        expected, last = 1, _beginning(tenant)
        for found in read:
            if isinstance(found, str):
                yield found
                expected += 1
                continue
            entry, is_unchanged = found
            if entry.sequence != expected:
                yield f"entry {expected} is missing"
                expected = entry.sequence
            elif entry.previous != last.hash:
                yield f"entry {entry.sequence} does not follow the entry before it"
            if not is_unchanged:
                yield f"entry {entry.sequence} was changed"
            yield from self._wrong_with(entry)
            last = _head_at(entry)
            expected += 1
        head = self._heads.chain_head(tenant) or _beginning(tenant)
        if head.sequence > last.sequence:
            yield f"entries {last.sequence + 1} to {head.sequence} are missing"
        elif head.sequence == last.sequence and head.hash != last.hash:
            yield f"entry {last.sequence} is not the one that the registry knows"
        elif last.sequence > head.sequence + 1:
            yield f"entries after {head.sequence} are unknown to the registry"

    def _wrong_with(self, entry: Entry) -> Iterator[str]:
        for what, name in (("plan", entry.plan), ("state", entry.state)):
            if not name:
                continue
            content = self._store.get(name)
            if content is None:
                yield f"the {what} of entry {entry.sequence} is missing"
            elif sha256(content).hexdigest() != name.rsplit("/", 1)[-1].split(".", 1)[0]:
                yield f"the {what} of entry {entry.sequence} was changed"

    def _read(self, tenant: str) -> Iterator[tuple[Entry, bool] | str]:
        """Yield a tenant's entries in order, each with whether it is unchanged, or what is wrong with one."""
        for name in sorted(self._store.names(f"{tenant}/entries/")):
            try:
                yield _parse(self._store.get(name) or b"")
            except ValidationError:
                yield f"{name} is no entry"

    def _settled_head(self, tenant: str) -> ChainHead:
        """Return the chain's end; an entry whose writer died before the registry knew it is acknowledged first."""
        head = self._heads.chain_head(tenant) or _beginning(tenant)
        content = self._store.get(_name(tenant, head.sequence + 1))
        if content is None:
            return head
        entry, is_unchanged = _parse(content)
        if entry.previous != head.hash or not is_unchanged:
            raise VerificationError(
                f"entry {entry.sequence} of {tenant} does not follow the entry before it",
                code="history-broken",
                remedy="keep the store and the registry as they are, and find out who wrote to them",
            )
        return self._advance(head, entry)

    def _advance(self, head: ChainHead, entry: Entry) -> ChainHead:
        now = _head_at(entry)
        if not self._heads.advance_chain(head, now):
            raise OutsideError(
                f"another process has written to the history of {entry.tenant}",
                code="history-conflict",
                remedy="run the same command again",
            )
        return now

    def _put_same(self, name: str, content: bytes) -> None:
        """Write an object that is named by its content; one that stands there already is the same."""
        self._store.put_once(name, content)


def _beginning(tenant: str) -> ChainHead:
    return ChainHead(tenant=tenant, sequence=0, hash=FIRST_LINK)


def _head_at(entry: Entry) -> ChainHead:
    return ChainHead(tenant=entry.tenant, sequence=entry.sequence, hash=entry.hash)


def _parse(content: bytes) -> tuple[Entry, bool]:
    """Return an entry and whether its hash is that of what was written, whatever this program knows of it."""
    entry = Entry.model_validate_json(content)
    body = {name: value for name, value in json.loads(content).items() if name != "hash"}
    return entry, _hash(body) == entry.hash


def difference(one: object, other: object, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield where two plans or specs differ: path, value of one, value of the other; "" where there is none.

    Lists of things with a key are compared by that key.
    """
    if isinstance(one, list) and isinstance(other, list) and _are_keyed([*one, *other]):
        one, other = _by_key(one), _by_key(other)
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from difference(one.get(name), other.get(name), f"{path}.{name}" if path else name)
    elif one != other:
        yield path, _text(one), _text(other)


def _are_keyed(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, dict) and _key_of(item) for item in items)


def _by_key(items: list[Any]) -> dict[str, Any]:
    return {_key_of(item): item for item in items}


def _key_of(item: dict[str, Any]) -> str:
    if "number" in item:
        return f"{item.get('layer')}-{'out' if item.get('egress') else 'in'}-{item['number']}"
    return str(item.get("key") or item.get("purpose") or item.get("service") or item.get("email") or "")


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _name(tenant: str, sequence: int) -> str:
    return f"{tenant}/entries/{sequence:08d}.json"


def _hash(body: object) -> str:
    return sha256(canonical_json(body)).hexdigest()
