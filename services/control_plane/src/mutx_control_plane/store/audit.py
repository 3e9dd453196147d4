"""Each tenant's audit: records are added at the end of its chain, read in pages, and verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from mutx_control_plane.store.event import FIRST_PREV, Event, Origin, Record, link_hash
from mutx_control_plane.store.paging import Ask, Page, counted_page
from mutx_control_plane.store.schema import audit_events, audit_links

_CURSOR = "e"
_VERIFIED_AT_ONCE = 1000
_TAIL = sa.text("SELECT sequence, hash, at FROM mutx.audit_tail()").columns(
    sequence=sa.BigInteger, hash=sa.LargeBinary, at=sa.DateTime(timezone=True)
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records are wanted; an empty text is any."""

    actor: str = ""
    action: str = ""
    object: str = ""
    trace_id: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain, whose hash stands for all of it. A head that was published elsewhere cannot be rewritten."""

    tenant: str
    sequence: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of verifying a chain.

    Attributes:
        links: how many links follow from the first.
        records: of how many the record is still kept, and is what was hashed.
        broken_at: the first sequence that does not hold; None where all do.
    """

    links: int
    records: int
    broken_at: int | None = None


def append(connection: sa.Connection, tenant: str, origin: Origin, events: Sequence[Event]) -> None:
    """Add records at the end of the tenant's chain; whoever else adds to it waits until this transaction ends."""
    tail = connection.execute(_TAIL).one()
    sequence, prev = tail.sequence, tail.hash
    links, rows = [], []
    for event in events:
        sequence += 1
        record = Record(tenant, sequence, tail.at, origin, event)
        digest = record.digest()
        after = link_hash(prev, digest)
        links.append(
            {
                "tenant": tenant,
                "sequence": sequence,
                "at": tail.at,
                "prev": prev,
                "digest": digest,
                "hash": after,
            }
        )
        rows.append(_row(record))
        prev = after
    connection.execute(audit_links.insert(), links)
    connection.execute(audit_events.insert(), rows)


def page(connection: sa.Connection, wanted: Filter, ask: Ask) -> Page[Record]:
    """Return records, the newest first."""
    return counted_page(connection, _query(wanted), audit_events.c.sequence, ask, _CURSOR, _record)


def trace(connection: sa.Connection, trace_id: str, wanted: Filter, ask: Ask) -> Page[Record]:
    """Return the records of one trace, the newest first."""
    query = _query(wanted).where(audit_events.c.trace_id == trace_id, audit_events.c.trace_id != "")
    return counted_page(connection, query, audit_events.c.sequence, ask, _CURSOR, _record)


def head(connection: sa.Connection, tenant: str) -> Head:
    """Return the end of the tenant's chain, sequence 0 for an empty one."""
    newest = (
        sa.select(audit_links.c.sequence, audit_links.c.hash).order_by(audit_links.c.sequence.desc()).limit(1)
    )
    found = connection.execute(newest.where(audit_links.c.tenant == tenant)).one_or_none()
    return Head(tenant, 0, FIRST_PREV) if found is None else Head(tenant, found.sequence, found.hash)


def verify(connection: sa.Connection, tenant: str) -> Verdict:
    """Follow the tenant's whole chain, and compare each record that is still kept with its digest."""
    prev, sequence, records = FIRST_PREV, 0, 0
    while True:
        found = connection.execute(_links_after(tenant, sequence)).all()
        for row in found:
            sequence += 1
            holds = (row.sequence, row.prev, row.hash) == (sequence, prev, link_hash(prev, row.digest))
            is_kept = row.retention is not None
            if not holds or (is_kept and _record(row).digest() != row.digest):
                return Verdict(sequence - 1, records, sequence)
            prev, records = row.hash, records + is_kept
        if len(found) < _VERIFIED_AT_ONCE:
            return Verdict(sequence, records)


def make_months(connection: sa.Connection, today: date, ahead_days: int = 62) -> int:
    """Have places for the records of the coming months; return how many were made. To be called daily."""
    months = sa.func.mutx.make_audit_months(today - timedelta(days=1), today + timedelta(days=ahead_days))
    return int(connection.execute(sa.select(months)).scalar_one())


def _query(wanted: Filter) -> sa.Select[Any]:
    columns = audit_events.c
    query = sa.select(audit_events)
    for column, value in (
        (columns.actor, wanted.actor),
        (columns.action, wanted.action),
        (columns.object, wanted.object),
        (columns.trace_id, wanted.trace_id),
    ):
        if value:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(columns.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(columns.at < wanted.until)
    return query


def _links_after(tenant: str, sequence: int) -> sa.Select[Any]:
    same = sa.and_(
        audit_events.c.tenant == audit_links.c.tenant,
        audit_events.c.sequence == audit_links.c.sequence,
        audit_events.c.at == audit_links.c.at,
    )
    kept = [column for column in audit_events.c if column.name not in {"tenant", "sequence", "at"}]
    return (
        sa.select(audit_links, *kept)
        .select_from(audit_links.outerjoin(audit_events, same))
        .where(audit_links.c.tenant == tenant, audit_links.c.sequence > sequence)
        .order_by(audit_links.c.sequence)
        .limit(_VERIFIED_AT_ONCE)
    )


def _row(record: Record) -> dict[str, object]:
    event, origin = record.event, record.origin
    return {
        "tenant": record.tenant, "sequence": record.sequence, "at": record.at, "retention": event.retention,
        "actor": origin.actor, "address": origin.address, "trace_id": origin.trace_id,
        "action": event.action, "object": event.object, "outcome": event.outcome, "detail": dict(event.detail),
    }  # fmt: skip


def _record(row: sa.Row[Any]) -> Record:
    origin = Origin(row.actor, row.address, row.trace_id)
    event = Event(row.action, row.object, row.outcome, row.detail)
    return Record(row.tenant, row.sequence, row.at, origin, event)
