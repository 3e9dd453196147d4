"""Text from outside, cut into sentences that know where they stand: in the open, hidden, or in a comment.

Markup, tables, JSON and CSV are read as a model reads them: what stands in an attribute, a comment or an element that
is not shown is a sentence too. Each character belongs to at most one sentence; the work is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LONGEST: Final = 600
"""Characters of a sentence; a longer one is cut at a blank."""


class Place(StrEnum):
    """Where a sentence stands."""

    OPEN = "open"
    HIDDEN = "hidden"
    """In a comment of markup, an attribute, or an element that is not shown."""
    COMMENT = "comment"
    """In a comment of a program."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence or clause of its own: characters `start` up to, not including, `end` of the text."""

    start: int
    end: int
    place: Place
    text: str


_TAG: Final = re.compile(r"<!--|<(/?)([A-Za-z][A-Za-z0-9-]{0,20})\b([^<>]{0,2000})>")
_INLINE: Final = frozenset(
    [
        "a",
        "b",
        "i",
        "u",
        "em",
        "strong",
        "code",
        "span",
        "mark",
        "small",
        "sub",
        "sup",
        "abbr",
        "kbd",
        "font",
        "q",
        "s",
    ]
)
_HIDES: Final = re.compile(
    r"(?i)display\s{0,3}:\s{0,3}none|visibility\s{0,3}:\s{0,3}hidden|opacity\s{0,3}:\s{0,3}0(?![.\d])"
    r"|font-size\s{0,3}:\s{0,3}[01](?:px|pt|em|%)?\b|(?:left|top|text-indent)\s{0,3}:\s{0,3}-\d{3,}"
    r"|(?<!-)color\s{0,3}:\s{0,3}(?:white|transparent|#fff\b|#ffffff)|(?:^|\s)hidden(?:\s|=|$)|aria-hidden\s?=\s?.?true"
)
_ATTRIBUTE: Final = re.compile(
    r"(?i)\b(alt|title|content|aria-label|placeholder|summary|label|value|data-[\w-]{1,30})\s{0,3}=\s{0,3}"
    r"(?:\"([^\"]{12,2000})\"|'([^']{12,2000})')"
)
_REFERENCE: Final = re.compile(r"(?m)^\[[^\]\n]{0,40}\]:[ \t]{0,4}(?:#|<>)[ \t]{0,4}[(\"']([^\n]{1,2000})$")
_BREAK: Final = re.compile(
    r"[.!?\u2026]+[\"'\u201d\u2019)\]*_]{0,3}(?=\s|$)|[\u3002\uff01\uff1f]+|\r?\n|\\r?\\n|\\n|[ \t]\|[ \t]?"
    r"|,(?=[^\s\d,])|\]\(|[\"'][ \t]{0,4}[,:][ \t]{0,4}[\"'\[{]|[\"'][ \t]{0,4}[}\]]|\u2022"
)
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|[eE]\.g|[iI]\.e|etc|vs|cf|[Nn]r|[Nn]o|[Dd]r|[Mm]r|[Mm]rs|[Mm]s|approx|bzw|[zZ]\.B|ca|p\.ex)\.$"
)
_WRAPPED: Final = re.compile(r"[ \t]*[a-z\u00df-\u00ff(\"'`]")
_MARKER: Final = re.compile(
    r"[\s>*\u2022\u2013\u2014+|=~\-\"'\u201c\u201d\u00ab\u00bb(\[{,;:.]+|//+|/\*+|#+|\d{1,3}[.)](?=\s)|<[^<>]{0,2000}>"
)
_COMMENT: Final = re.compile(
    r"(?m)^[ \t]*(?:#(?![#!])|//|/?\*(?=\s)|--[ \t]|;)[ \t]*\S|(?<=\s)(?://|#)[ \t]+\S|/\*"
)
_LONG_LINE: Final = 45


def sentences(text: str) -> list[Sentence]:
    """Return the sentences of a text, in its order; those that hold no letter are left out."""
    found: list[Sentence] = []
    for start, end, place in _regions(text):
        found += _split(text, start, end, place)
    return found


def _regions(text: str) -> Iterator[tuple[int, int, Place]]:
    """Yield pieces between markup, those that are hidden as such, attributes in the place of their tags."""
    at, hidden_by = 0, ""
    position = 0
    while (tag := _TAG.search(text, position)) is not None:
        position = tag.end()
        place = Place.HIDDEN if hidden_by else Place.OPEN
        if tag.group() == "<!--":
            close = text.find("-->", tag.end())
            close = len(text) if close < 0 else close
            yield at, tag.start(), place
            yield tag.end(), close, Place.HIDDEN
            at = position = min(len(text), close + 3)
            continue
        closes, name, rest = tag.group(1), tag.group(2).lower(), tag.group(3)
        hides = not closes and bool(rest) and _HIDES.search(rest) is not None
        if name in _INLINE and not hides and name != hidden_by and "=" not in rest:
            continue
        yield at, tag.start(), place
        at = tag.end()
        if "=" in rest:
            for each in _ATTRIBUTE.finditer(rest):
                group = 2 if each.group(2) is not None else 3
                base = tag.start(3)
                yield base + each.start(group), base + each.end(group), Place.HIDDEN
        if closes and name == hidden_by:
            hidden_by = ""
        elif hides and not hidden_by and not rest.endswith("/"):
            hidden_by = name
    yield from _referenced(text, at, Place.HIDDEN if hidden_by else Place.OPEN)


def _referenced(text: str, at: int, place: Place) -> Iterator[tuple[int, int, Place]]:
    """Yield the rest of a text, definitions of links that nothing shows as hidden."""
    for each in _REFERENCE.finditer(text, at):
        yield at, each.start(), place
        yield each.start(1), each.end(1), Place.HIDDEN
        at = each.end()
    yield at, len(text), place


def _split(text: str, start: int, end: int, place: Place) -> Iterator[Sentence]:
    at, line = start, start
    for each in _BREAK.finditer(text, start, end):
        sign = each.group()
        if sign[-1] == "\n":
            is_wrapped = each.start() - line >= _LONG_LINE and _WRAPPED.match(text, each.end(), end)
            line = each.end()
            if is_wrapped:
                continue
        elif sign[0] == "." and _ABBREVIATION.search(text, max(at, each.end() - 8), each.end()):
            continue
        yield from _pieces(
            text, at, each.end() if sign[0] in ".!?\u2026\u3002\uff01\uff1f" else each.start(), place
        )
        at = each.end()
    yield from _pieces(text, at, end, place)


def _pieces(text: str, start: int, end: int, place: Place) -> Iterator[Sentence]:
    """Yield a sentence without what leads it in, in pieces that are not too long."""
    comment = _COMMENT.match(text, start, end) if place is Place.OPEN else None
    if (
        place is Place.OPEN
        and comment is None
        and (inner := _COMMENT.search(text, start, min(end, start + LONGEST)))
    ):
        yield from _pieces(text, start, inner.start(), place)
        start, comment = inner.start(), inner
    while start < end and (marker := _MARKER.match(text, start, end)):
        start = marker.end()
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end:
        stop = end
        if end - start > LONGEST:
            blank = text.rfind(" ", start, start + LONGEST)
            stop = blank if blank > start else start + LONGEST
        piece = text[start:stop]
        if any(map(str.isalpha, piece)):
            yield Sentence(start, stop, Place.COMMENT if comment else place, piece)
        start = stop
