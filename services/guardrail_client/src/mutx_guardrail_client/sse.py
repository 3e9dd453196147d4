"""Server-sent events as they come: bytes in, whole events out, and back.

Source: WHATWG HTML, "Server-sent events", parsing an event stream.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field

LARGEST_EVENT = 1 << 20
"""Characters of an event that has not ended."""

_LINE_END = re.compile(r"\r\n|\n|\r(?!\Z)")


class SseError(Exception):
    """A body is no stream of events, or an event is too large; it holds nothing of the body."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event: its lines but those of data, and its data; None where it has none."""

    lines: tuple[str, ...] = field(repr=False)
    data: str | None = field(repr=False)

    @property
    def is_comment(self) -> bool:
        """Whether it says nothing, but that the stream lives."""
        return self.data is None and all(line.startswith(":") for line in self.lines)

    def encode(self) -> bytes:
        """Return the event as it is sent."""
        data = [] if self.data is None else [f"data: {line}" for line in re.split(r"\r\n|\r|\n", self.data)]
        return "".join(f"{line}\n" for line in (*self.lines, *data, "")).encode("utf-8", "replace")


class SseReader:
    """Cuts a stream into events."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._rest = ""
        self._lines: list[str] = []
        self._size = 0

    def feed(self, part: bytes, *, is_last: bool = False) -> list[SseEvent]:
        """Return the events that end in a part; at the last one, also an event that lacks its blank line.

        Raises:
            SseError: it is no UTF-8, or an event is too large.
        """
        text = None
        try:
            text = self._decoder.decode(part, is_last)
        except UnicodeDecodeError:
            text = None
        if text is None:
            raise SseError("the stream is no UTF-8")
        *lines, self._rest = _LINE_END.split(self._rest + text)
        if is_last:
            lines += [self._rest.rstrip("\r"), ""]
        self._size += len(text)
        found = [event for line in lines if (event := self._take(line)) is not None]
        if self._size > LARGEST_EVENT and not found:
            raise SseError("an event is too large")
        if found:
            self._size = len(self._rest)
        return found

    def _take(self, line: str) -> SseEvent | None:
        if line:
            self._lines.append(line)
            return None
        lines, self._lines = self._lines, []
        if not lines:
            return None
        data = [value for name, value in map(_field, lines) if name == "data"]
        others = tuple(line for line in lines if _field(line)[0] != "data")
        return SseEvent(others, "\n".join(data) if data else None)


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.removeprefix(" ")
