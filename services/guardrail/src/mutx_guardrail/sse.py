"""Server-sent events, read as they come and written again (WHATWG HTML, section 9.2), as far as they are met here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

LARGEST_EVENT = 1 << 20


class EventError(Exception):
    """The stream is not one of events, or one of them is too large."""


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event's name (empty: none was sent) and its data."""

    name: str
    data: str


async def read_events(
    content: AsyncIterable[bytes], largest: int = LARGEST_EVENT
) -> AsyncGenerator[RawEvent, None]:
    """Yield the events of a stream. Comments, ids and retry times are left out; an event without its end is none.

    Raises:
        EventError: an event is larger than `largest` bytes, or no UTF-8.
    """
    buffer = bytearray()
    data: list[str] = []
    name, size = "", 0
    async for chunk in content:
        buffer += chunk
        while (end := buffer.find(b"\n")) >= 0:
            line, buffer = bytes(buffer[:end]).removesuffix(b"\r"), buffer[end + 1 :]
            size += len(line)
            if size > largest:
                raise EventError("an event is too large")
            if not line:
                if data:
                    yield RawEvent(name, "\n".join(data))
                name, data, size = "", [], 0
                continue
            field, value = _field(line)
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
        if len(buffer) + size > largest:
            raise EventError("an event is too large")


async def with_ticks(events: AsyncIterator[RawEvent], tick_s: float) -> AsyncGenerator[RawEvent | None, None]:
    """Yield events as they come, and None whenever none has come for `tick_s` seconds.

    The one that is awaited when the generator is closed is given up, whatever it would have raised.
    """
    coming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=tick_s)
            if not done:
                yield None
                continue
            event = coming.result()
            if event is None:
                return
            yield event
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({coming})
        if not coming.cancelled():
            coming.exception()


def write_event(event: RawEvent) -> bytes:
    """Return an event as it goes over the wire."""
    head = f"event: {event.name}\n" if event.name else ""
    lines = "".join(f"data: {line}\n" for line in event.data.split("\n"))
    return f"{head}{lines}\n".encode()


def _field(line: bytes) -> tuple[str, str]:
    try:
        name, _, value = line.decode().partition(":")
    except UnicodeDecodeError:
        raise EventError("an event is no UTF-8") from None
    if "\r" in value:
        # A lone CR ends a line too; a reader that knows that would see other events than this one.
        raise EventError("a line holds a carriage return")
    return name, value.removeprefix(" ")
