"""A text cut at a number of tokens, where a reader would cut it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from mutx_guardrail.output.graphemes import boundary_before

# An English token has about four characters; where the search for the end begins, and no more than that.
_CHARACTERS_PER_TOKEN: Final = 4

# A cut at a sentence may lose half of what would fit, one at a word a fifth; else the next finer place is taken.
_SENTENCE_KEEPS: Final = 0.5
_WORD_KEEPS: Final = 0.8

_SENTENCE: Final = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|[。！？][”」』）]*|\S(?=\n[ \t]{0,20}[\n\-*\d])")
_LONGEST_MARK: Final = 8
_WORD: Final = re.compile(r"\S(?=\s)")

# What means something only as a whole: escapes of JSON, HTML, URLs and terminals, and masks.
_WHOLE: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\x[0-9a-fA-F]{2}"
    r"|\\[0-7]{1,3}|\\.|&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});|(?:%[0-9a-fA-F]{2})+"
    r"|\x1b\[[0-?]{0,32}[ -/]{0,4}[@-~]|\x1b\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)"
    r"|<[A-Z_]{2,30}(?:_\d{1,7}|:[\w\-]{1,2000})>"
    r"|\[REDACTED\]",
    re.DOTALL,
)
_LONGEST_WHOLE: Final = 2_048


@dataclass(frozen=True, slots=True)
class Cut:
    """A text, and whether something was cut off its end."""

    text: str
    was_cut: bool


def truncate(text: str, max_tokens: int, count: Callable[[str], int]) -> Cut:
    """Return the longest begin of a text that has `max_tokens` tokens or fewer, cut at a sentence, else at a word.

    A cut never goes through a grapheme cluster, an escape sequence or a mask. `count` is called a number of times that
    grows with the logarithm of what fits, and with no text much longer than twice of that, or four characters a token.

    Raises:
        ValueError: `max_tokens` is negative.
    """
    if max_tokens < 0:
        raise ValueError("a number of tokens is not negative")
    end = _longest_fitting(text, max_tokens, count)
    if end == len(text):
        return Cut(text, was_cut=False)
    for place in _places(text, end):
        if count(text[:place]) <= max_tokens:
            return Cut(text[:place], was_cut=True)
    return Cut("", was_cut=True)


def _longest_fitting(text: str, max_tokens: int, count: Callable[[str], int]) -> int:
    """Return the length of the longest begin that fits; a longer begin counts as no fewer tokens."""
    fitting, reach = 0, max(1, max_tokens * _CHARACTERS_PER_TOKEN)
    while reach < len(text) and count(text[:reach]) <= max_tokens:
        fitting, reach = reach, reach * 2
    if reach >= len(text):
        if count(text) <= max_tokens:
            return len(text)
        reach = len(text)
    fits = bisect_right(range(fitting, reach), max_tokens, key=lambda length: count(text[:length]))
    return max(0, fitting + fits - 1)


def _places(text: str, end: int) -> Iterator[int]:
    """Return where the text may be cut at or before `end`, the best first; the last is the empty text."""
    for pattern, keeps in ((_SENTENCE, _SENTENCE_KEEPS), (_WORD, _WORD_KEEPS)):
        window = max(0, int(keeps * end) - _LONGEST_MARK)
        ends = (match.end() for match in pattern.finditer(text, window, min(len(text), end + 1)))
        last = max((place for place in ends if place <= end), default=0)
        if last and last >= keeps * end:
            yield _before_whole(text, last)
    place, step = end, 1
    while place > 0:
        place = _before_whole(text, boundary_before(text, place))
        yield place
        place, step = place - step, step * 2
    yield 0


def _before_whole(text: str, at: int) -> int:
    """Return the place, or the begin of the sequence that it is within."""
    begin = max(0, at - _LONGEST_WHOLE)
    for whole in _WHOLE.finditer(text, begin, min(len(text), at + _LONGEST_WHOLE)):
        if whole.start() < at < whole.end():
            return whole.start()
        if whole.start() >= at:
            break
    return at
