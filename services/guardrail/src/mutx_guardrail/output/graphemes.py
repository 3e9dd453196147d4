"""Where a text may be cut without breaking what a reader sees as one character."""

from __future__ import annotations

import unicodedata
from typing import Final

import regex  # type: ignore[import-untyped]

_CLUSTER: Final = regex.compile(r"\X")
_JOINERS: Final = frozenset("\u200d\u200c\ufe0e\ufe0f")

# Extended clusters have no longest length; one that goes back further than this is cut, so that the work is bounded.
_LONGEST: Final = 128


def boundary_before(text: str, at: int) -> int:
    """Return the last place up to `at` (0 to the length) where a grapheme cluster ends.

    The text is read from the last space or line break before, at most 128 characters back; `at` itself comes back where
    no boundary is found within them.
    """
    if at <= 0 or at >= len(text):
        return max(0, min(at, len(text)))
    begin = max(0, at - _LONGEST)
    last = begin
    while last < at:
        match = _CLUSTER.match(text, last)
        end = match.end() if match else last + 1
        if end > at:
            break
        last = end
    return last if last > begin or begin == 0 else at


def whole_clusters(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span widened over the marks that belong to its first and last characters."""
    while 0 < start < len(text) and _extends(text[start]):
        start -= 1
    while end < len(text) and end > start and _extends(text[end]):
        end += 1
    if text[end - 1 : end] == "\r" and text[end : end + 1] == "\n":
        end += 1
    return start, end


def _extends(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) in {"Mn", "Me", "Mc"}
