"""Names that lists and places tell: runs of words of which one is a known name, and words where names stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.matching import Haystack, Pattern
from mutx_guardrail.pii.name_lists import NameLists, Word, words_of
from mutx_guardrail.pii.name_words import NameWords
from mutx_guardrail.pii.pack import Pack
from mutx_guardrail.pii.rule import Candidate
from mutx_guardrail.verdict import Layer

_SHORTEST_LIST: Final = 3
_LONGEST_RUN: Final = 5
_TWO: Final = 2
_FIRM: Final = re.compile(
    r"\b([A-Z][A-Za-z]{2,20}), ([A-Z][A-Za-z]{2,20}),? (?:and|&) ([A-Z][A-Za-z]{2,20})\b"
)
_JOINTS: Final = frozenset({" ", "  ", "\t"})


@dataclass(frozen=True, slots=True)
class _Place:
    id: str
    pattern: Pattern
    kind: Kind
    confidence: float
    known: bool


class NameRules:
    """Finds people without a model."""

    def __init__(self, names: NameLists, telling: NameWords, pack: Pack, stop_words: frozenset[str]) -> None:
        self._names, self._telling, self._stop_words = names, telling, stop_words
        self._places = [
            _Place(
                entry["id"],
                pack.pattern(entry["pattern"]),
                Kind(entry.get("kind", Kind.PERSON)),
                entry["confidence"],
                entry.get("known", False),
            )
            for entry in pack.sections["patterns"]
        ]

    def find(self, text: str, *, is_uncased: bool) -> Iterator[Candidate]:
        """Return the people of a text; `is_uncased` says that capitals mean nothing in it."""
        yield from self._in_places(Haystack(text))
        words = list(words_of(text))
        yield from self._places_in(words, text, is_uncased=is_uncased)
        yield from self._listed(words, text, is_uncased=is_uncased)
        yield from (self._known_words(words, text) if is_uncased else self._runs(words, text))

    def firms(self, text: str) -> Sequence[Candidate]:
        """Return what is called by three family names, as `Hawkins, Reed and Santana`; two given ones are people."""
        return [
            Candidate(match.start(), match.end(), Kind.ORGANIZATION, 0.6, "firm", Layer.NAMES)
            for match in _FIRM.finditer(text)
            if all(map(self._names.is_family, match.groups()))
            and sum(map(self._names.is_given, match.groups())) < _TWO
        ]

    def _in_places(self, hay: Haystack) -> Iterator[Candidate]:
        for place in self._places:
            for hit in hay.hits(place.pattern):
                words = self._name_of(list(words_of(hay.text[hit.start : hit.end])))
                if not words or (place.known and not any(self._is_telling(word) for word in words)):
                    continue
                start, end = hit.start + words[0].start, hit.start + words[-1].end
                yield Candidate(start, end, place.kind, place.confidence, place.id, Layer.NAMES)

    def _name_of(self, words: Sequence[Word]) -> Sequence[Word]:
        """Return the words up to the first that is no part of a name, without titles before them."""
        words = self._telling.after_titles(words)
        at = 0
        while at < len(words) and (words[at].text.lower() not in self._stop_words or words[at].is_initial):
            at += 1
        at = min(at, self._telling.capitals_end(words)) if words and words[0].is_capital else at
        while at and words[at - 1].text.lower() in self._telling.particles:
            at -= 1
        return words[:at]

    def _is_telling(self, word: Word) -> bool:
        return self._names.is_given(word.text) or (
            self._names.is_family(word.text) and not self._names.is_word(word.text)
        )

    def _places_in(self, words: Sequence[Word], text: str, *, is_uncased: bool) -> Iterator[Candidate]:
        """Return countries and large cities; in text without capitals, those alone that are no word or name too."""
        at = 0
        while at < len(words):
            length = next(
                (n for n in (3, 2, 1) if at + n <= len(words) and self._is_place(words[at : at + n], text)), 0
            )
            first = words[at]
            if length and (length > 1 or not self._names.is_word(first.text)):
                is_plain = not is_uncased and first.is_capital
                if is_plain or (is_uncased and not self._names.is_name(first.text)):
                    is_name = self._names.is_given(first.text) and length == 1
                    confidence = 0.5 if is_name else 0.7
                    yield Candidate(
                        first.start,
                        words[at + length - 1].end,
                        Kind.LOCATION,
                        confidence,
                        "place",
                        Layer.NAMES,
                    )
            at += max(1, length)

    def _is_place(self, words: Sequence[Word], text: str) -> bool:
        name = text[words[0].start : words[-1].end]
        return "\n" not in name and self._names.is_place(name)

    def _listed(self, words: Sequence[Word], text: str, *, is_uncased: bool) -> Iterator[Candidate]:
        """Return all of an enumeration of single words of which half or more are given names."""
        at = 0
        while at < len(words):
            items = [words[at]]
            after = at + 1
            while after < len(words):
                between = text[items[-1].end : words[after].start]
                if (
                    between == " "
                    and words[after].text in self._telling.conjunctions
                    and after + 1 < len(words)
                ):
                    after += 1
                elif between != ", ":
                    break
                items.append(words[after])
                after += 1
            yield from self._judge_list(items, is_uncased=is_uncased)
            at = max(at + 1, after)

    def _judge_list(self, items: Sequence[Word], *, is_uncased: bool) -> Iterator[Candidate]:
        given = [item.text for item in items if self._names.is_given(item.text)]
        if len(items) < _SHORTEST_LIST or len(given) * 2 < len(items) or all(map(self._is_ambiguous, given)):
            return
        for item in items:
            if (item.is_capital or is_uncased) and item.text.lower() not in self._stop_words:
                yield _person(item.start, item.end, 0.7, "listed")

    def _runs(self, words: Sequence[Word], text: str) -> Iterator[Candidate]:
        at = 0
        while at < len(words):
            run = self._run_from(words, at, text)
            found = self._judge(run, text) if run else None
            if found:
                yield found
            at += max(1, len(run))

    def _run_from(self, words: Sequence[Word], at: int, text: str) -> list[Word]:
        """Return the words with capitals from a place on, particles and initials between them, as one name would be."""
        run: list[Word] = []
        while at < len(words) and len(run) < _LONGEST_RUN:
            word = words[at]
            if run and not _is_joint(text[run[-1].end : word.start], run[-1]):
                break
            if not word.is_capital and not (run and word.text in self._telling.particles):
                break
            run.append(word)
            at += 1
        while run and not run[-1].is_capital:
            run.pop()
        return run

    def _judge(self, run: Sequence[Word], text: str) -> Candidate | None:
        """Return the name in a run of words with capitals, if there is one."""
        run = self._without_lead(run)
        if not run or run[-1].text.lower() in self._telling.no_last_names:
            return None
        start, end, first = run[0].start, run[-1].end, run[0].text
        others = [
            word.text
            for word in run[1:]
            if not word.is_initial and word.text.lower() not in self._telling.particles
        ]
        if not others:
            return self._given_alone(run, text)
        known = any(self._names.is_name(other) for other in others)
        if self._names.is_given(first) and (known or not self._is_ambiguous(first)):
            return _person(
                start, end, 0.85 if known and not self._is_ambiguous(first) else 0.7, "given-family"
            )
        has_initial = len(run) == len(["Ann", "B", "Cox"]) and run[1].is_initial
        if has_initial or ((known or self._names.is_name(first)) and _is_line(text, start, end)):
            return _person(start, end, 0.7, "initial" if has_initial else "line")
        return None

    def _without_lead(self, run: Sequence[Word]) -> Sequence[Word]:
        """Return the run without the words before a name, such as one that begins the sentence."""
        run = self._telling.after_titles(run)
        at = 0
        while at < len(run) and run[at].text.lower() in self._stop_words:
            at += 1
        given = next(
            (i for i in range(at, len(run)) if run[i].is_capital and self._names.is_given(run[i].text)), at
        )
        return [] if given and run[given - 1].text.lower() in self._telling.before_places else run[given:]

    def _given_alone(self, run: Sequence[Word], text: str) -> Candidate | None:
        first = run[0]
        if first.text.isupper() or not self._names.is_given(first.text) or self._is_ambiguous(first.text):
            return None
        confidence = 0.55 if _begins_sentence(text, first.start) else 0.65
        return _person(first.start, run[-1].end, confidence, "given")

    def _is_ambiguous(self, word: str) -> bool:
        return (
            self._names.is_word(word) or self._names.is_place(word) or word.lower() in self._telling.products
        )

    def _known_words(self, words: Sequence[Word], text: str) -> Iterator[Candidate]:
        """Return runs of words without capitals that are names and nothing else."""
        at = 0
        while at < len(words):
            run = [words[at]]
            while at + len(run) < len(words) and text[run[-1].end : words[at + len(run)].start] in {
                " ",
                ". ",
            }:
                following = words[at + len(run)]
                if len(following.text) > 1 and (
                    not self._names.is_name(following.text) or self._is_common(following)
                ):
                    break
                run.append(following)
            while len(run) > 1 and len(run[-1].text) == 1:
                run.pop()
            first = run[0]
            if self._names.is_given(first.text) and not self._is_common(first):
                if len(run) > 1:
                    yield _person(first.start, run[-1].end, 0.75, "given-family-lower")
                elif not self._is_ambiguous(first.text):
                    yield _person(first.start, first.end, 0.55, "given-lower")
                at += len(run)
            else:
                at += 1

    def _is_common(self, word: Word) -> bool:
        return word.text.lower() in self._stop_words


def _is_joint(between: str, before: Word) -> bool:
    return between in _JOINTS or (before.is_initial and between in {". ", "."})


def _is_line(text: str, start: int, end: int) -> bool:
    """Say whether a span is all there is of its line, but for the marks of a quotation or a list."""
    before, after = text[text.rfind("\n", 0, start) + 1 : start], text[end : end + 3].lstrip(" ,\r")
    return not before.strip(" \t>?*-") and after[:1] == "\n"


def _begins_sentence(text: str, at: int) -> bool:
    before = text[:at].rstrip(" \t\"'“‘(>*-")
    return not before or before[-1] in ".!?:\n"


def _person(start: int, end: int, confidence: float, rule: str) -> Candidate:
    return Candidate(start, end, Kind.PERSON, confidence, rule, Layer.NAMES)
