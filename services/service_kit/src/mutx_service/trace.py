"""W3C trace context in, spans out as JSON lines. A span holds names, times and numbers; never text of a run."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from mutx_service.journal import write_event

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

Attribute = str | int | float | bool


@dataclass(frozen=True, slots=True)
class SpanContext:
    """Where a span belongs: 32 hex digits of trace, 16 of span."""

    trace_id: str
    span_id: str


@dataclass(slots=True)
class Span:
    """A span that is open; `attributes` may be added until it closes."""

    context: SpanContext
    parent_span_id: str
    attributes: dict[str, Attribute] = field(default_factory=dict)
    status: str = "ok"


_CURRENT: ContextVar[SpanContext | None] = ContextVar("current_span", default=None)


def current() -> SpanContext | None:
    """Return the context of the innermost open span of this task."""
    return _CURRENT.get()


def parse_traceparent(header: str | None) -> SpanContext | None:
    """Return the caller's span, or None where the header is missing or not what the W3C's recommendation allows."""
    found = _TRACEPARENT.fullmatch(header or "")
    if found is None:
        return None
    version, trace_id, span_id, _flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return SpanContext(trace_id, span_id)


@contextmanager
def span(name: str, parent: SpanContext | None = None, **attributes: Attribute) -> Iterator[Span]:
    """Open a span below `parent`, else below the current one, and write it when it closes, however it closes."""
    above = parent or _CURRENT.get()
    context = SpanContext(above.trace_id if above else secrets.token_hex(16), secrets.token_hex(8))
    opened = Span(context, above.span_id if above else "", dict(attributes))
    token = _CURRENT.set(context)
    start = time.time_ns()
    try:
        yield opened
    except BaseException as error:
        if opened.status == "ok":
            opened.status = getattr(error, "code", type(error).__name__)
        raise
    finally:
        _CURRENT.reset(token)
        _write(name, opened, start)


def _write(name: str, closed: Span, start: int) -> None:
    fields: Mapping[str, object] = {
        "trace_id": closed.context.trace_id,
        "span_id": closed.context.span_id,
        "parent_span_id": closed.parent_span_id,
        "name": name,
        "start_time_unix_nano": start,
        "end_time_unix_nano": time.time_ns(),
        "status": closed.status,
        "attributes": closed.attributes,
    }
    write_event("span", fields)
