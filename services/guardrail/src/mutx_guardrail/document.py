"""The text under judgement: as it was given, and every other reading of it with the way back.

A reading (`View`) is the text normalised, folded to look-alikes, or decoded. Detectors work on readings; what they
find is told in spans of the given text, for which each reading carries an offset map.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mutx_guardrail.verdict import Finding, Span


class Origin(StrEnum):
    """Where a text comes from; instructions are expected of the user alone."""

    USER = "user"
    TOOL = "tool"
    RETRIEVED = "retrieved"
    AGENT = "agent"


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
        self._starts, self._ends = array("I", starts), array("I", ends)

    @classmethod
    def identity(cls, length: int) -> OffsetMap:
        """Return the map of a reading that is the text itself."""
        return cls(range(length), range(1, length + 1))

    @classmethod
    def constant(cls, length: int, span: Span) -> OffsetMap:
        """Return the map of a reading whose every character comes of one whole piece."""
        return cls([span.start] * length, [span.end] * length)

    def __len__(self) -> int:
        return len(self._starts)

    def original(self, start: int, end: int) -> Span:
        """Return the span of the given text that characters `start` to `end` of the reading come from.

        Characters may come of pieces out of order (right-to-left text that was reversed); the span covers all of them.
        """
        if start >= end:
            at = self._starts[start] if start < len(self._starts) else (self._ends[-1] if self._ends else 0)
            return Span(at, at)
        return Span(min(self._starts[start:end]), max(self._ends[start:end]))

    def select(self, pieces: Iterable[tuple[int, int]]) -> OffsetMap:
        """Return the map of a reading of this reading: each new character comes of `pieces[i]` (begin, end) here."""
        spans = [self.original(start, end) for start, end in pieces]
        return OffsetMap([span.start for span in spans], [span.end for span in spans])


@dataclass(frozen=True, slots=True)
class View:
    """One reading. `name` says how it came to be, steps joined by `>` (`plain`, `skeleton`, `base64>plain`)."""

    name: str
    text: str
    offsets: OffsetMap

    def __post_init__(self) -> None:
        if len(self.text) != len(self.offsets):
            raise ValueError(f"{self.name}: {len(self.text)} characters, {len(self.offsets)} offsets")

    def original(self, start: int, end: int) -> Span:
        """Return the span of the given text for a span of this reading."""
        return self.offsets.original(start, end)


PLAIN: Final = "plain"


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its readings.

    Args:
        text: as it was given.
        views: the first is `plain` (dangerous characters gone, NFKC); the others differ from it.
        removed: the dangerous characters, as findings of the encoding check.
        cleaned: the given text without them, and nothing else changed: what may be passed on.
    """

    text: str
    origin: Origin
    views: tuple[View, ...]
    removed: tuple[Finding, ...]
    cleaned: View

    @property
    def plain(self) -> View:
        """The reading that classifiers take."""
        return self.views[0]
