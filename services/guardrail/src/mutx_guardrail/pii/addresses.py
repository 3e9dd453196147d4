"""Postal addresses of many countries: what they begin with, what goes on with it, and what speaks against one.

The forms are data (`data/pii/addresses.yml`). A core is a street with its number, or what stands for one (a post box, a
corner). Some are sure by themselves; others count beside a word such as `address`, or with a place behind them. What
goes on with a core (flat, town, code, country) is taken in piece by piece.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from mutx_guardrail.deadline import check_time
from mutx_guardrail.pii.context import Mentions
from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.letter_case import is_uncased, with_capitals
from mutx_guardrail.pii.matching import Haystack, Pattern
from mutx_guardrail.pii.merge import merge
from mutx_guardrail.pii.pack import Pack
from mutx_guardrail.pii.rule import Candidate

_CONTEXT: Final = ("address",)

# How far behind a core its flat and code are looked for where a quoted line lies between.
_REACH: Final = 60
_MOST_PIECES: Final = 6
_LONGEST_PIECE: Final = 120
_APART: Final = 0.6

# More words than this have no street's name that nothing but its neighbours tells.
_MOST_WORDS: Final = 5

# A number that may be a year, after which `Wall Street` is none's house.
_YEAR: Final = re.compile(r"(?:1[789]|20)\d\d\b")
_UNIT_BEFORE: Final = re.compile(
    r"(?i)\b(?:flat|apartment|apt|suite|unit|level|floor|studio|shop)\.? ?(?:#?\w{1,4},?\s)?$"
)
_LONGEST_UNIT: Final = 24
_GOES_ON: Final = re.compile(rb"[.\s,;\xe2-]")

# Behind a piece: no letter, and no digit, nor another group of a longer number.
_ENDS: Final = re.compile(r"(?![\w]|[-. /]?\d)")
_WORD: Final = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
_LONG_NUMBER: Final = re.compile(rb"\d{4}|\d{3} \d\d|\d[A-Za-z]{2}\b|[A-Z]\d[A-Z]")


@dataclass(frozen=True, slots=True)
class _Core:
    id: str
    pattern: Pattern
    alone: float
    near: float
    tail: float
    proof: bool

    @classmethod
    def of(cls, pack: Pack, entry: Mapping[str, Any]) -> _Core:
        return cls(
            entry["id"],
            pack.pattern(entry["pattern"]),
            entry["alone"],
            entry["near"],
            entry["tail"],
            entry.get("proof", False),
        )


@dataclass(frozen=True, slots=True)
class _Tail:
    start: int
    end: int
    has_place: bool


class AddressRule:
    """Finds addresses."""

    def __init__(self, pack: Pack) -> None:
        self._cores = [_Core.of(pack, entry) for entry in pack.sections["cores"]]
        self._tail = [(entry["kind"], pack.pattern(entry["pattern"])) for entry in pack.sections["tail"]]
        self._hint = pack.pattern(pack.sections["hint"])
        self._town = pack.pattern(pack.sections["town"])
        self._quoted = pack.pattern(pack.sections["quoted"])
        self._apart = [pack.pattern(source) for source in pack.sections["apart"]]
        words = ("not_streets", "not_leading", "not_before", "not_after", "not_sorts")
        self._not_streets, self._not_leading, self._not_before, self._not_after, self._not_sorts = (
            frozenset(map(str, pack.sections[name])) for name in words
        )

    def find(self, hay: Haystack, mentions: Mentions) -> Iterator[Candidate]:
        """Return the addresses of a text; one without capitals is read with them, and believed less."""
        if not hay.digits:
            return
        addresses = merge(self._addresses(hay, mentions))
        yield from addresses
        if addresses:
            yield from self._pieces_apart(hay, addresses)

    def _addresses(self, hay: Haystack, mentions: Mentions) -> Iterator[Candidate]:
        is_likely = mentions.has(_CONTEXT) or _LONG_NUMBER.search(hay.data) is not None
        yield from self._by_cores((c for c in self._cores if c.alone or is_likely), hay, mentions)
        if is_likely and is_uncased(hay.text):
            unsure = (replace(core, alone=0.0) for core in self._cores)
            yield from self._by_cores(unsure, Haystack(with_capitals(hay.text)), mentions)

    def _by_cores(self, cores: Iterable[_Core], hay: Haystack, mentions: Mentions) -> Iterator[Candidate]:
        tails: dict[int, _Tail] = {}
        for core in cores:
            check_time()
            for hit in hay.hits(core.pattern):
                start, end = _trimmed(hay.text, hit.start, hit.end)
                if not hay.stands_alone(start, end) or not self._can_be(core, hay.text, start, end):
                    continue
                tail = tails.get(end) or tails.setdefault(end, self._tail_from(hay.text, end))
                confidence = self._confidence(core, hay.text, mentions, start, tail)
                if confidence:
                    start = _with_unit_before(hay.text, start)
                    yield Candidate(start, tail.end, Kind.STREET_ADDRESS, confidence, core.id)
                    yield from self._town_behind(hay.text, tail)

    def _town_behind(self, text: str, tail: _Tail) -> Iterator[Candidate]:
        """Return the town that a street is said to be in; it is a place's name, and none of the street's."""
        match = None if tail.has_place else self._town.match(_bytes_from(text, tail.end))
        if match:
            start, end = _trimmed(text, *(tail.end + _length(text, tail.end, at) for at in match.span(1)))
            yield Candidate(start, end, Kind.LOCATION, _APART, "address-town")

    def _confidence(self, core: _Core, text: str, mentions: Mentions, start: int, tail: _Tail) -> float:
        near = core.near if mentions.before(_CONTEXT, start) else 0.0
        behind = core.tail if tail.has_place or (tail.end > tail.start and not core.proof) else 0.0
        is_thing = _YEAR.match(text, start) is not None or self._is_thing(text, start, tail.start)
        return max(near, behind, 0.0 if is_thing else core.alone)

    def _can_be(self, core: _Core, text: str, start: int, end: int) -> bool:
        """Say whether the words of a core can be a street's."""
        words = [re.split("['’]", word.lower())[0] for word in _WORD.findall(text, start, end)]
        if not words or not self._not_sorts.isdisjoint(words):
            return False
        if core.alone:
            return words[0] not in self._not_leading
        return len(words) <= _MOST_WORDS and self._not_streets.isdisjoint(
            words if core.near and core.proof else words[: max(1, len(words) - 1)]
        )

    def _is_thing(self, text: str, start: int, end: int) -> bool:
        """Say whether the words beside a core tell that its number is none of a house."""
        before = _WORD.findall(text[max(0, start - 16) : start].rpartition("\n")[2])
        after = _WORD.match(text, end + 1)
        return (bool(before) and before[-1].lower() in self._not_before) or (
            after is not None and after[0].lower() in self._not_after
        )

    def _tail_from(self, text: str, start: int) -> _Tail:
        """Return how far an address goes on from a core's end, and whether a place is in it."""
        has_place = self._quoted.match(_bytes_from(text, start)) is not None
        at = start
        for _ in range(_MOST_PIECES):
            kind, end = self._piece_from(text, at, has_place=has_place)
            if not kind:
                break
            at, has_place = end, has_place or kind == "place"
        return _Tail(start, at, has_place)

    def _piece_from(self, text: str, at: int, *, has_place: bool) -> tuple[str, int]:
        """Return the next piece's kind and end; an empty kind where there is none."""
        piece = _bytes_from(text, at)
        if _GOES_ON.match(piece) and self._hint.search(piece):
            for kind, pattern in self._tail:
                match = pattern.match(piece) if has_place or kind != "town" else None
                end = at + _length(text, at, match.span()[1]) if match else at
                if end > at and _ENDS.match(text, end):
                    return kind, end
        return "", at

    def _pieces_apart(self, hay: Haystack, addresses: Sequence[Candidate]) -> Iterator[Candidate]:
        """Return flats and codes on lines of their own, soon after an address or one of these."""
        ends = [address.end for address in addresses]
        for start, end in sorted({(hit.start, hit.end) for p in self._apart for hit in hay.hits(p)}):
            at = bisect_right(ends, start) - 1
            if at >= 0 and start - ends[at] <= _REACH:
                ends.insert(at + 1, end)
                yield Candidate(start, end, Kind.STREET_ADDRESS, _APART, "apart")


def _with_unit_before(text: str, start: int) -> int:
    """Return where an address begins whose flat stands before its street."""
    before = text[max(0, start - _LONGEST_UNIT) : start]
    unit = _UNIT_BEFORE.search(before)
    return start - len(before) + unit.start() if unit else start


def _length(text: str, start: int, length: int) -> int:
    """Return how many characters of a text from a place on are so many bytes."""
    return len(_bytes_from(text, start)[:length].decode("utf-8", "surrogatepass"))


def _bytes_from(text: str, at: int) -> bytes:
    return text[at : at + _LONGEST_PIECE].encode("utf-8", "surrogatepass")


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    value = text[start:end]
    return end - len(value.lstrip(" ,\n")), start + len(value.rstrip(" .,'’-\n"))
