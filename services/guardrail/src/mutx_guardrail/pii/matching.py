"""Patterns in linear time (RE2) over a text that is encoded once, with spans in code points.

RE2 has no look-around; whether a hit stands alone is asked of the text itself, where letters of all scripts count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast

import numpy as np
import re2

_CONTINUATION_MASK, _CONTINUATION = 0xC0, 0x80


class _Match(Protocol):
    def span(self, group: int = 0) -> tuple[int, int]: ...


class Pattern(Protocol):
    """A compiled pattern, used on bytes."""

    @property
    def groups(self) -> int:
        """How many groups it has."""

    def search(self, text: bytes) -> _Match | None:
        """Return the first match."""

    def finditer(self, text: bytes) -> Iterator[_Match]:
        """Return all matches that do not overlap."""

    def match(self, text: bytes) -> _Match | None:
        """Return the match at the text's begin."""

    def fullmatch(self, text: bytes) -> _Match | None:
        """Return the match of the whole."""


def compile_pattern(pattern: str, *, longest: bool = False) -> Pattern:
    """Return the compiled pattern; `longest` prefers the longest match to the first alternative.

    Raises:
        ValueError: RE2 does not take it.
    """
    options = re2.Options()
    options.longest_match = longest
    options.log_errors = False
    try:
        return cast("Pattern", re2.compile(pattern, options))
    except re2.error as error:
        raise ValueError(f"RE2 does not take {pattern!r}: {error}") from None


def quote(text: str) -> str:
    """Return the pattern of a literal."""
    return cast("str", re2.escape(text))


@dataclass(frozen=True, slots=True)
class Hit:
    """A match in code points: the value (the pattern's first group, or the whole), and the whole."""

    start: int
    end: int
    whole_start: int
    whole_end: int


class Haystack:
    """A text made ready for many patterns."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = text.encode("utf-8", "surrogatepass")
        self._plain = len(self.data) == len(text)

    @cached_property
    def digits(self) -> int:
        """How many ASCII digits there are."""
        return sum(map(self.data.count, b"0 1 2 3 4 5 6 7 8 9".split()))

    def hits(self, pattern: Pattern) -> Iterator[Hit]:
        """Return all matches, from left to right."""
        for match in pattern.finditer(self.data):
            whole = match.span()
            value = match.span(1) if pattern.groups else whole
            if value[0] < 0:
                value = whole
            if value[0] < value[1]:
                yield Hit(self._at(value[0]), self._at(value[1]), self._at(whole[0]), self._at(whole[1]))

    def stands_alone(self, start: int, end: int) -> bool:
        """Say whether neither a letter, a digit nor `_` touches the span."""
        before, after = self.text[start - 1 : start], self.text[end : end + 1]
        return not (before.isalnum() or before == "_" or after.isalnum() or after == "_")

    def is_glued(self, start: int, end: int, marks: str = "-/._@") -> bool:
        """Say whether the span is a part of a longer token, such as a group of a UUID or a step of a path."""
        before, tie = self.text[max(0, start - 2) : max(0, start - 1)], self.text[max(0, start - 1) : start]
        if tie and tie in marks and before and (before.isalnum() or before in marks):
            return True
        tie, after = self.text[end : end + 1], self.text[end + 1 : end + 2]
        return bool(tie) and tie in marks and after.isdigit()

    def _at(self, offset: int) -> int:
        return offset if self._plain else int(self._positions[offset])

    @cached_property
    def _positions(self) -> Sequence[int]:
        """For each byte, and for the end, the code point it belongs to."""
        begins = (np.frombuffer(self.data, dtype=np.uint8) & _CONTINUATION_MASK) != _CONTINUATION
        return cast("Sequence[int]", np.append(np.cumsum(begins) - 1, len(self.text)))
