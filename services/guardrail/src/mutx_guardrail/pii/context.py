"""Words near a number that say what it is.

The words are data (`data/pii/context.yml`), in groups (`phone`, `card`, …) and several languages; `other` holds words
for numbers that are not personal.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import yaml

from mutx_guardrail.pii.matching import Haystack, compile_pattern, quote

BEFORE: Final = 50
AFTER: Final = 14
OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Mention:
    """A context word in a text, and the groups it belongs to."""

    start: int
    end: int
    groups: frozenset[str]


class Mentions:
    """All context words of one text, from left to right; questions cost the logarithm of their number."""

    def __init__(self, found: Iterable[Mention]) -> None:
        self._starts: dict[str, list[int]] = defaultdict(list)
        self._ends: dict[str, list[int]] = defaultdict(list)
        for mention in found:
            for group in mention.groups:
                self._starts[group].append(mention.start)
                self._ends[group].append(mention.end)

    def has(self, groups: Iterable[str]) -> bool:
        """Say whether a word of one of the groups is anywhere in the text."""
        return any(group in self._ends for group in groups)

    def near(self, groups: Iterable[str], start: int, end: int) -> bool:
        """Say whether a word of the groups stands up to 50 characters before the span or 14 behind it."""
        return any(self._last_before(group, start) >= 0 or self._follows(group, end) for group in groups)

    def before(self, groups: Iterable[str], start: int) -> bool:
        """Say whether a word of the groups stands up to 50 characters before a place."""
        return any(self._last_before(group, start) >= 0 for group in groups)

    def nearest_is_other(self, groups: Iterable[str], start: int) -> bool:
        """Say whether a word for another sort of number stands before the span, nearer than any of the groups."""
        other = self._last_before(OTHER, start)
        return other > max((self._last_before(group, start) for group in groups), default=-1)

    def _last_before(self, group: str, start: int) -> int:
        """Return where the last word of a group before `start` ends; -1 where none is near enough."""
        ends = self._ends.get(group)
        if not ends:
            return -1
        at = bisect_right(ends, start) - 1
        return ends[at] if at >= 0 and ends[at] >= start - BEFORE else -1

    def _follows(self, group: str, end: int) -> bool:
        starts = self._starts.get(group)
        if not starts:
            return False
        at = bisect_left(starts, end)
        return at < len(starts) and starts[at] <= end + AFTER


class ContextWords:
    """Finds all context words of a text in one pass."""

    def __init__(self, groups: Mapping[str, Mapping[str, Iterable[str]]]) -> None:
        exact: dict[str, set[str]] = defaultdict(set)
        stems: dict[str, set[str]] = defaultdict(set)
        for group, languages in groups.items():
            for word in (word for words in languages.values() for word in words):
                (stems if word.endswith("*") else exact)[_folded(word.rstrip("*"))].add(group)
        self._exact = {word: frozenset(kinds) for word, kinds in exact.items()}
        self._stems = {word: frozenset(kinds) for word, kinds in stems.items()}
        alternatives = [_alternative(word) for word in self._exact]
        alternatives += [_alternative(word) + r"\pL*" for word in self._stems]
        self._pattern = compile_pattern("(?i)(?:" + "|".join(sorted(alternatives)) + ")", longest=True)

    def scan(self, hay: Haystack) -> Mentions:
        """Return the words of a text."""
        return Mentions(self._mentions(hay))

    def _mentions(self, hay: Haystack) -> Iterable[Mention]:
        for hit in hay.hits(self._pattern):
            if not _is_word(hay.text, hit.start, hit.end):
                continue
            groups = self._groups_of(_folded(hay.text[hit.start : hit.end]))
            if groups:
                yield Mention(hit.start, hit.end, groups)

    def _groups_of(self, word: str) -> frozenset[str]:
        groups = self._exact.get(word, frozenset())
        for length in range(len(word), 1, -1):
            groups |= self._stems.get(word[:length], frozenset())
        return groups


def load_context_words() -> ContextWords:
    """Return the words that the package ships."""
    text = (files("mutx_guardrail") / "data" / "pii" / "context.yml").read_text("utf-8")
    return ContextWords(yaml.safe_load(text)["groups"])


def _folded(word: str) -> str:
    return " ".join(word.lower().replace("_", " ").replace("-", " ").split())


def _alternative(word: str) -> str:
    return r"[\s_\-]{1,3}".join(quote(part) for part in word.split())


def _is_word(text: str, start: int, end: int) -> bool:
    """Say whether a hit is a word of its own; `phoneNumber` and `card_number` have it as one."""
    before, first = text[start - 1 : start], text[start]
    last, after = text[end - 1], text[end : end + 1]
    begins = not before.isalpha() or (before.islower() and first.isupper())
    ends = not after.isalpha() or (last.islower() and after.isupper())
    return begins and ends
