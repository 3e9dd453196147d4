"""The text under judgement: as it was given, and every other reading of it with the way back.

A reading (`View`) is the text normalised, folded to look-alikes, or decoded. Detectors work on readings; what they
find is told in spans of the given text, for which each reading carries an offset map.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, overload

from mutx_guardrail.verdict import Finding, Span


class Origin(StrEnum):
    """Where a text comes from; instructions are expected of the user alone."""

    USER = "user"
    TOOL = "tool"
    RETRIEVED = "retrieved"
    AGENT = "agent"


FOREIGN: Final = frozenset({Origin.TOOL, Origin.RETRIEVED})
"""Where no instruction is expected to come from."""
MOST_TURNS: Final = 8
"""Earlier turns of a user's that are looked at with a turn, the latest."""
LONGEST_TASK: Final = 4_000
"""Characters of what an agent's user asked for, by which foreign texts are judged."""


class OffsetMap:
    """For each character of a reading, where in the given text its source begins and ends.

    Args:
        starts: begin of each character's source, in order of the reading.
        ends: its end; equally long.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, starts: Sequence[int], ends: Sequence[int]) -> None:
        if len(starts) != len(ends):
            raise ValueError("as many ends as starts are wanted")
        self._starts, self._ends = starts, ends

    @classmethod
    def identity(cls, length: int) -> OffsetMap:
        """Return the map of a reading that is the text itself; it takes no memory."""
        return cls(range(length), range(1, length + 1))

    @classmethod
    def constant(cls, length: int, span: Span) -> OffsetMap:
        """Return the map of a reading whose every character comes of one whole piece."""
        return cls(_Repeated(span.start, length), _Repeated(span.end, length))

    def __len__(self) -> int:
        return len(self._starts)

    def original(self, start: int, end: int) -> Span:
        """Return the span of the given text that characters `start` to `end` of the reading come from.

        Characters may come of pieces out of order (text that was reversed); the span covers all of them.
        """
        if start >= end:
            at = self._starts[start] if start < len(self) else (self._ends[-1] if len(self) else 0)
            return Span(at, at)
        if isinstance(self._starts, range):
            return Span(self._starts[start], self._ends[end - 1])
        return Span(min(self._starts[start:end]), max(self._ends[start:end]))

    def then(self, starts: Sequence[int], ends: Sequence[int]) -> OffsetMap:
        """Return the map of a reading of this reading, whose characters come of these pieces of it."""
        if isinstance(self._starts, range):
            return OffsetMap(starts, ends)
        spans = [self.original(start, end) for start, end in zip(starts, ends, strict=True)]
        return OffsetMap(array("I", [span.start for span in spans]), array("I", [span.end for span in spans]))


class _Repeated(Sequence[int]):
    """The same number over and over."""

    __slots__ = ("_length", "_value")

    def __init__(self, value: int, length: int) -> None:
        self._value, self._length = value, length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...

    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        if isinstance(at, slice):
            return _Repeated(self._value, len(range(*at.indices(self._length))))
        if not -self._length <= at < self._length:
            raise IndexError(at)
        return self._value


@dataclass(frozen=True, slots=True)
class View:
    """One reading. `name` says how it came to be, steps joined by `>` (`plain`, `skeleton`, `base64>hex`)."""

    name: str
    text: str
    offsets: OffsetMap

    def __post_init__(self) -> None:
        if len(self.text) != len(self.offsets):
            raise ValueError(f"{self.name}: {len(self.text)} characters, {len(self.offsets)} offsets")

    @classmethod
    def whole(cls, name: str, text: str) -> View:
        """Return the reading that is the text itself."""
        return cls(name, text, OffsetMap.identity(len(text)))

    def original(self, start: int, end: int) -> Span:
        """Return the span of the given text for a span of this reading."""
        return self.offsets.original(start, end)

    def edited(self, name: str, edits: Sequence[Edit]) -> View:
        """Return the reading with pieces of it replaced; `edits` are in order and do not overlap."""
        if not edits:
            return View(name, self.text, self.offsets)
        pieces: list[str] = []
        starts, ends, at = array("I"), array("I"), 0
        for edit in edits:
            pieces += (self.text[at : edit.start], edit.text)
            starts.extend(range(at, edit.start))
            ends.extend(range(at + 1, edit.start + 1))
            starts.extend([edit.start] * len(edit.text))
            ends.extend([edit.end] * len(edit.text))
            at = edit.end
        pieces.append(self.text[at:])
        starts.extend(range(at, len(self.text)))
        ends.extend(range(at + 1, len(self.text) + 1))
        return View(name, "".join(pieces), self.offsets.then(starts, ends))

    def decoded(self, name: str, text: str, start: int, end: int) -> View:
        """Return the reading that a piece of this one was decoded to; it points at the whole piece."""
        return View(name, text, OffsetMap.constant(len(text), self.original(start, end)))


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of a reading, and what stands there instead."""

    start: int
    end: int
    text: str = ""


PLAIN: Final = "plain"


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its readings.

    Args:
        text: as it was given.
        views: the first is `plain` (dangerous characters gone, NFKC); the others differ from it.
        removed: the dangerous characters, as findings of the encoding check.
        edits: what takes them out of the given text, and changes nothing else.
    """

    text: str
    origin: Origin
    views: tuple[View, ...]
    removed: tuple[Finding, ...]
    edits: tuple[Edit, ...] = ()

    @property
    def plain(self) -> View:
        """The reading that classifiers take."""
        return self.views[0]
