"""A long text as overlapping windows of word pieces: what a sentence encoder can take, with nothing left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mutx_guardrail.classifiers.encoder import Tokens

WINDOW: Final = 126
STRIDE: Final = 94


@dataclass(frozen=True, slots=True)
class Window:
    """A run of word pieces, `first` up to `last`, and the characters from `start` to `end` that they stand for.

    The windows of a text cover each of its characters: what no word piece stands for belongs to the window before it.
    """

    first: int
    last: int
    start: int
    end: int


def split(tokens: Tokens, length: int) -> Iterator[Window]:
    """Yield the windows of a text of so many characters: at least one, the last as full as the others."""
    count = len(tokens)
    firsts = [*range(0, max(count - WINDOW, 0), STRIDE), max(count - WINDOW, 0)]
    for place, first in enumerate(firsts):
        last = min(first + WINDOW, count)
        start = int(tokens.starts[first]) if place else 0
        end = int(tokens.starts[last]) if place + 1 < len(firsts) else length
        yield Window(first, last, start, end)
