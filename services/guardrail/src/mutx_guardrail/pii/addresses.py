"""Postal addresses: streets of several countries with their numbers, post boxes (`data/pii/addresses.yml`).

A street is known by its sort (`Road`, `…straße`, `rue`) beside a number. Where a word such as `address` stands near,
capitalised words between or beside numbers are enough. What follows on to a street (flat, town, post code) is taken in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from mutx_guardrail.pii.context import Mentions
from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.matching import Haystack, Pattern
from mutx_guardrail.pii.merge import merge
from mutx_guardrail.pii.pack import Pack
from mutx_guardrail.pii.rule import Candidate

_CONTEXT: Final = ("address",)

_REACH: Final = 60


class AddressRule:
    """Finds streets with their numbers, and what goes on with them."""

    def __init__(self, pack: Pack) -> None:
        self._streets, self._named = pack.patterns("streets"), pack.patterns("named")
        self._following, self._between = pack.patterns("following"), pack.pattern(pack.sections["between"])

    def find(self, hay: Haystack, mentions: Mentions) -> Iterator[Candidate]:
        """Return the addresses of a text."""
        if not hay.digits:
            return
        streets = list(self._candidates(hay, mentions, self._streets, alone=0.65, supported=0.85))
        if mentions.has(_CONTEXT):
            streets += self._candidates(hay, mentions, self._named, alone=0, supported=0.6)
        yield from streets
        if streets:
            yield from self._follow(hay, mentions, merge(streets))

    def _follow(self, hay: Haystack, mentions: Mentions, streets: Sequence[Candidate]) -> Iterator[Candidate]:
        """Return flats, towns and codes soon after a street; what joins on to it without a break, as one with it."""
        ends = [street.end for street in streets]
        for candidate in self._candidates(hay, mentions, self._following, alone=0.6, supported=0.6):
            at = bisect_right(ends, candidate.start + 1) - 1
            if at < 0 or candidate.start - ends[at] > _REACH:
                continue
            gap = hay.text[ends[at] : candidate.start].encode("utf-8", "surrogatepass")
            joins = self._between.fullmatch(gap) is not None
            yield replace(candidate, start=streets[at].start) if joins else candidate

    @staticmethod
    def _candidates(
        hay: Haystack,
        mentions: Mentions,
        patterns: Iterable[tuple[str, Pattern]],
        *,
        alone: float,
        supported: float,
    ) -> Iterator[Candidate]:
        for name, pattern in patterns:
            for hit in hay.hits(pattern):
                confidence = supported if mentions.near(_CONTEXT, hit.start, hit.start) else alone
                start, end = _trimmed(hay.text, hit.start, hit.end)
                if confidence and hay.stands_alone(start, end):
                    yield Candidate(start, end, Kind.STREET_ADDRESS, confidence, name)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    value = text[start:end]
    return end - len(value.lstrip(" ,\n")), start + len(value.rstrip(" .,'’-\n"))
