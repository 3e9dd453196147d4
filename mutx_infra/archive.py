"""What a tenant's hosts, Vault and network wrote down, kept once the tenant and its keys are gone (AUDIT-1, ZTNA-6).

Each log group becomes chunks (gzip, one JSON event a line) and a manifest that names them. A chunk is named by its
first event's time and its content's hash, and is never written over. What the archive holds already is taken off what
the group holds before anything is written: so a run that was killed is gone on with, nothing is written twice, and a
pass that finds nothing to write has read everything back and compared it.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from operator import attrgetter
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from mutx_infra.canonical import canonical_json
from mutx_infra.errors import OutsideError, RefusedError, VerificationError
from mutx_infra.log_events import difference, from_line, merged, to_line
from mutx_infra.naming import log_group
from mutx_infra.ports import ObjectStore
from mutx_infra.records import LogEvent, StoredObject, Tombstone

CHUNK_BYTES = 8 * 1024 * 1024
"""A chunk is closed once its lines, before compression, have reached this."""
PASSES = 5
"""A group that still gets events after so many passes is being written to."""
KIND = "archive object"
_CHUNK, _MANIFEST = ".jsonl.gz", ".json"
_CHUNK_NAME = re.compile(r".*/\d{13}-[0-9a-f]{64}\.jsonl\.gz")
_MANIFEST_NAME = re.compile(r".*/manifest-\d{4}-[0-9a-f]{64}\.json")


class ChunkEntry(BaseModel):
    """One chunk as its manifest names it; times are milliseconds since 1970."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    events: int
    first: int
    last: int


class Manifest(BaseModel):
    """All that was kept of one log group.

    Attributes:
        life: when the tenant was made: a name may be given again.
        group: the log group's name in CloudWatch Logs.
        retention_days: how long the plan keeps its events at least; 0 for a group that is not of the plan.
        control: the requirement that says so.
        streams: how many events are of each stream.
    """

    model_config = ConfigDict(frozen=True)

    version: int = 1
    tenant: str
    life: str
    account: str
    region: str
    group: str
    retention_days: int
    control: str
    events: int = 0
    first: int | None = None
    last: int | None = None
    streams: dict[str, int] = {}
    chunks: tuple[ChunkEntry, ...] = ()


class Folder(NamedTuple):
    """One log group of one life of a tenant."""

    tenant: str
    life: str
    group: str

    @property
    def prefix(self) -> str:
        """Where its objects lie."""
        return f"{self.tenant}/{self.life}/{self.group}/"


class Record(NamedTuple):
    """One event with where it is from."""

    folder: Folder
    event: LogEvent


class LogArchive:
    """Writes and reads the archive.

    Args:
        store: refuses to delete what is written; what it holds begins with a tenant's id.
        chunk_bytes: see `CHUNK_BYTES`.
    """

    def __init__(self, store: ObjectStore, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._store, self._chunk_bytes = store, chunk_bytes

    def require_retention(self, days: int) -> int | None:
        """Read back for how long the store keeps what is written; None where it cannot refuse a deletion.

        Raises:
            RefusedError: for less than `days` (code `archive-retention`).
        """
        kept = self._store.retention_days()
        if kept is not None and kept < days:
            raise RefusedError(
                f"the log archive keeps what is written for {kept} days, {days} are required; nothing was deleted",
                code="archive-retention",
                remedy=f"give its bucket Object Lock, compliance mode, with a default retention of {days} days or more",
            )
        return kept

    def keep(self, blank: Manifest, read: Callable[[], Iterator[LogEvent]]) -> Manifest:
        """Keep every event of a log group; returns once a whole pass has found each of them in the archive.

        Args:
            blank: names the group.
            read: begins to read it anew, in the order of the events' times.

        Raises:
            OutsideError: it gets new events faster than they are kept (code `logs-not-quiet`).
            VerificationError: an object of the archive is not what was written (code `archive-broken`).
        """
        folder = Folder(blank.tenant, blank.life, _folder_name(blank.tenant, blank.group))
        for _ in range(PASSES):
            chunks, manifests = self._contents(folder)
            tally = _Tally()
            if self._write(folder, difference(read(), self._counted(chunks, tally))):
                continue
            manifest = tally.filled_in(blank)
            if not manifests or self._manifest(manifests[-1]) != manifest:
                content = canonical_json(manifest.model_dump(mode="json"))
                number = f"manifest-{len(manifests) + 1:04d}"
                self._store.put_once(_named(folder, number, content, _MANIFEST), content)
            return manifest
        raise OutsideError(
            f"the log group {blank.group} is still written to",
            code="logs-not-quiet",
            remedy="end what writes to it besides the tenant's hosts, then run the same command again",
        )

    def manifests(self, tenant: str) -> tuple[Manifest, ...]:
        """Return the newest manifest of each group of each life of a tenant.

        Raises:
            VerificationError: one is not what was written (code `archive-broken`).
        """
        found = (self._contents(folder)[1] for folder in self.folders(tenant))
        return tuple(self._manifest(manifests[-1]) for manifests in found if manifests)

    def folders(self, tenant: str) -> tuple[Folder, ...]:
        """Return what the archive has of a tenant, life by life."""
        names = (stored.name.split("/") for stored in self._store.stored(f"{tenant}/"))
        return tuple(sorted({Folder(*parts[:3]) for parts in names if len(parts) > 3}))  # noqa: PLR2004 - and a name

    def events(
        self, tenant: str, groups: Iterable[str], since: datetime | None, until: datetime | None
    ) -> Iterator[Record]:
        """Yield the events of some groups (none: of all) in the order of their times, `until` not included.

        Raises:
            VerificationError: a chunk is not what was written (code `archive-broken`).
        """
        wanted, begin, end = set(groups), _ms(since, 0), _ms(until, 1 << 62)
        sources = [
            (_begin_of(chunk), partial(self._records, folder, chunk))
            for folder in self.folders(tenant)
            if not wanted or folder.group in wanted
            for chunk in self._chunks_between(folder, begin, end)
        ]
        for record in merged(sources, lambda record: record.event.timestamp):
            if begin <= record.event.timestamp < end:
                yield record

    def problems(self, tenant: str) -> Iterator[str]:
        """Yield what is wrong with what the archive has of a tenant, each with the name of the object."""
        for folder in self.folders(tenant):
            yield from self._problems(folder)
        for tombstone in self.tombstones(tenant):
            if tombstone.flaw:
                yield f"{tombstone.id}: {tombstone.flaw}"

    def tombstones(self, tenant: str) -> tuple[Tombstone, ...]:
        """Return every object of a tenant with the day until which it is locked."""
        return self._store.locked(f"{tenant}/", KIND)

    def mark(self, tenant: str) -> None:
        """Tag what is not tagged yet with the day on which its lock runs out."""
        self._store.mark(f"{tenant}/")

    def _problems(self, folder: Folder) -> Iterator[str]:
        stored = self._store.stored(folder.prefix)
        yield from (f"{one.name}: something was put over it, or hides it" for one in stored if one.is_covered)
        chunks, manifests = self._contents(folder)
        known = {*chunks, *manifests}
        yield from (f"{one.name}: is not of the archive" for one in stored if one not in known)
        if not manifests:
            yield f"{folder.prefix}: has no manifest, so it was not finished"
            return
        try:
            newest = [self._manifest(one) for one in manifests][-1]
        except VerificationError as exc:
            yield exc.detail
            return
        present = {chunk.name: chunk for chunk in chunks}
        for entry in newest.chunks:
            chunk = present.pop(f"{folder.prefix}{entry.name}", None)
            if chunk is None:
                yield f"{folder.prefix}{entry.name}: is missing"
                continue
            try:
                times = [event.timestamp for event in self._read(chunk)]
            except VerificationError as exc:
                yield exc.detail
                continue
            if [entry.events, entry.first, entry.last] != [len(times), *times[:1], *times[-1:]]:
                yield f"{chunk.name}: does not hold what its manifest says"
        yield from (f"{name}: is in no manifest" for name in present)

    def _contents(self, folder: Folder) -> tuple[list[StoredObject], list[StoredObject]]:
        """Return a folder's chunks and manifests, the oldest first."""
        stored = self._store.stored(folder.prefix)
        return (
            [one for one in stored if _CHUNK_NAME.fullmatch(one.name)],
            [one for one in stored if _MANIFEST_NAME.fullmatch(one.name)],
        )

    def _chunks_between(self, folder: Folder, begin: int, end: int) -> Iterator[StoredObject]:
        chunks, manifests = self._contents(folder)
        known = self._manifest(manifests[-1]).chunks if manifests else ()
        lasts = {f"{folder.prefix}{entry.name}": entry.last for entry in known}
        for chunk in chunks:
            if _begin_of(chunk) < end and lasts.get(chunk.name, begin) >= begin:
                yield chunk

    def _write(self, folder: Folder, events: Iterator[LogEvent]) -> int:
        """Write events as chunks; returns how many chunks."""
        written = 0
        for first, lines in self._cut(events):
            content = gzip.compress(lines, mtime=0)
            self._store.put_once(_named(folder, f"{first:013d}", content, _CHUNK), content)
            written += 1
        return written

    def _cut(self, events: Iterator[LogEvent]) -> Iterator[tuple[int, bytes]]:
        """Yield lines for one chunk after another, with the time of the first event."""
        lines = bytearray()
        first = 0
        for event in events:
            first = first if lines else event.timestamp
            lines += to_line(event)
            if len(lines) >= self._chunk_bytes:
                yield first, bytes(lines)
                lines.clear()
        if lines:
            yield first, bytes(lines)

    def _counted(self, chunks: list[StoredObject], tally: _Tally) -> Iterator[LogEvent]:
        """Yield what the chunks hold in the order of the events' times, and count it."""
        sources = [(_begin_of(chunk), partial(tally.count, chunk, self._read(chunk))) for chunk in chunks]
        return merged(sources, attrgetter("timestamp"))

    def _records(self, folder: Folder, chunk: StoredObject) -> Iterator[Record]:
        return (Record(folder, event) for event in self._read(chunk))

    def _read(self, chunk: StoredObject) -> Iterator[LogEvent]:
        try:
            events = [from_line(line) for line in gzip.decompress(self._content(chunk)).splitlines()]
        except (OSError, EOFError, zlib.error, ValueError, KeyError) as exc:
            raise _broken(f"{chunk.name}: is no chunk of events") from exc
        yield from events

    def _manifest(self, stored: StoredObject) -> Manifest:
        try:
            return Manifest.model_validate_json(self._content(stored))
        except ValidationError as exc:
            raise _broken(f"{stored.name}: is no manifest") from exc

    def _content(self, stored: StoredObject) -> bytes:
        """Return what was first written under a name, once it is what the name says."""
        content = self._store.get(stored.name, stored.version)
        if content is None or sha256(content).hexdigest() != _digest_in(stored.name):
            raise _broken(f"{stored.name}: was changed")
        return content


class _Tally:
    """Counts events while they pass."""

    def __init__(self) -> None:
        self._streams = Counter[str]()
        self._chunks: list[ChunkEntry] = []

    def count(self, chunk: StoredObject, events: Iterator[LogEvent]) -> Iterator[LogEvent]:
        """Pass a chunk's events on, to the last one."""
        number, first, last = 0, 0, 0
        for event in events:
            first, last = (first if number else event.timestamp), event.timestamp
            number += 1
            self._streams[event.stream] += 1
            yield event
        name = chunk.name.rsplit("/", 1)[-1]
        self._chunks.append(
            ChunkEntry(name=name, sha256=_digest_in(name), events=number, first=first, last=last)
        )

    def filled_in(self, blank: Manifest) -> Manifest:
        """Return the manifest of what has passed."""
        chunks = sorted(self._chunks, key=attrgetter("name"))
        return blank.model_copy(
            update={
                "events": sum(chunk.events for chunk in chunks),
                "first": min((chunk.first for chunk in chunks), default=None),
                "last": max((chunk.last for chunk in chunks), default=None),
                "streams": dict(sorted(self._streams.items())),
                "chunks": tuple(chunks),
            }
        )


def life_of(made_at: datetime) -> str:
    """Return what tells a tenant from a later one of the same name: when it was made."""
    return made_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _folder_name(tenant: str, group: str) -> str:
    """Return a log group's name below the tenant's, without slashes: `+` occurs in none."""
    return group.removeprefix(log_group(tenant, "")).replace("/", "+")


def _named(folder: Folder, stem: str, content: bytes, ending: str) -> str:
    return f"{folder.prefix}{stem}-{sha256(content).hexdigest()}{ending}"


def _digest_in(name: str) -> str:
    return name.rsplit("-", 1)[-1].partition(".")[0]


def _begin_of(chunk: StoredObject) -> int:
    """Return the time of a chunk's first event, which its name begins with."""
    return int(chunk.name.rsplit("/", 1)[-1].partition("-")[0])


def _ms(when: datetime | None, otherwise: int) -> int:
    return otherwise if when is None else int(when.timestamp() * 1000)


def _broken(what: str) -> VerificationError:
    return VerificationError(
        f"the archive is not what was written: {what}",
        code="archive-broken",
        remedy="keep the store as it is, and find out who wrote to it",
        detail=what,
    )
