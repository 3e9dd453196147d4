"""Pages of a list by its last row, not by a count: the tenth page costs what the first does.

A cursor is opaque to callers. It holds a place in one kind of list and no right: whoever makes one up sees the rows of
their own tenant that they see without it, from another place on. So it is checked for its form, and not signed.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

import sqlalchemy as sa
from mutx_service.problem import Problem

LARGEST_PAGE = 200
DEFAULT_PAGE = 50

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 64
_TIMED, _COUNTED = struct.Struct(">cq16s"), struct.Struct(">cq")
_MICROSECOND = timedelta(microseconds=1)

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Row]):
    """A part of a list.

    Attributes:
        next_cursor: for the part after it; empty after the last.
    """

    rows: tuple[_Row, ...]
    next_cursor: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """Which part of a list is wanted.

    Raises:
        Problem: `request-invalid` for a size out of bounds.
    """

    size: int = DEFAULT_PAGE
    cursor: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.size <= LARGEST_PAGE:
            raise Problem("request-invalid", f"a page has 1 to {LARGEST_PAGE} rows")


def timed_page(
    connection: sa.Connection,
    query: sa.Select[Any],  # Any: whichever columns the list has
    at: sa.ColumnElement[Any],
    row_id: sa.ColumnElement[Any],
    ask: Ask,
    kind: str,
    make: Callable[[sa.Row[Any]], _Row],
) -> Page[_Row]:
    """Return rows, the newest first; rows of one microsecond by their ids.

    `kind` is one ASCII character that only this list's cursors begin with.

    Raises:
        Problem: `cursor-invalid`.
    """
    if ask.cursor:
        micros, raw = _unpack(_TIMED, ask.cursor, kind)
        query = query.where(
            sa.tuple_(at, row_id) < sa.tuple_(sa.literal(_at(micros)), sa.literal(UUID(bytes=raw)))
        )
    found = connection.execute(query.order_by(at.desc(), row_id.desc()).limit(ask.size + 1)).all()
    return _page(found, ask, make, lambda row: _timed_cursor(row._mapping[at], row._mapping[row_id], kind))


def counted_page(
    connection: sa.Connection,
    query: sa.Select[Any],
    count: sa.ColumnElement[Any],
    ask: Ask,
    kind: str,
    make: Callable[[sa.Row[Any]], _Row],
) -> Page[_Row]:
    """Return rows by a counter, the highest first. Raises as `timed_page`."""
    if ask.cursor:
        query = query.where(count < _unpack(_COUNTED, ask.cursor, kind)[0])
    found = connection.execute(query.order_by(count.desc()).limit(ask.size + 1)).all()
    return _page(found, ask, make, lambda row: _pack(_COUNTED.pack(kind.encode(), row._mapping[count])))


def _page(
    found: Sequence[sa.Row[Any]],
    ask: Ask,
    make: Callable[[sa.Row[Any]], _Row],
    cursor: Callable[[sa.Row[Any]], str],
) -> Page[_Row]:
    shown = found[: ask.size]
    return Page(tuple(map(make, shown)), cursor(shown[-1]) if len(found) > ask.size else "")


def _timed_cursor(at: datetime, row_id: UUID, kind: str) -> str:
    return _pack(_TIMED.pack(kind.encode(), (at - _EPOCH) // _MICROSECOND, row_id.bytes))


def _at(micros: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise Problem("cursor-invalid") from None


def _pack(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unpack(form: struct.Struct, cursor: str, kind: str) -> tuple[Any, ...]:
    """Return a cursor's fields; one that is written in any other way than ours is refused."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if len(cursor) > _LONGEST or _pack(raw) != cursor:
            raise Problem("cursor-invalid")
        found, *fields = form.unpack(raw)
    except (ValueError, binascii.Error, struct.error):
        raise Problem("cursor-invalid") from None
    if found != kind.encode():
        raise Problem("cursor-invalid")
    return tuple(fields)
