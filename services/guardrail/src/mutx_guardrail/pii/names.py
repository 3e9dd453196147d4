"""The part of personal data that has no form: names of people, places and organisations.

A small spaCy model reads the text (its entity recogniser alone); lists of names, and places where names stand, find
what it does not see; what it sees wrongly is dropped. Text without capitals is read with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from mutx_guardrail.deadline import check_time
from mutx_guardrail.document import Document
from mutx_guardrail.layer import LayerUnavailable, Signal
from mutx_guardrail.pii.entities import Entity, EntityReader, load_reader
from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.letter_case import is_uncased, with_capitals
from mutx_guardrail.pii.masking import outside_masks
from mutx_guardrail.pii.merge import merge
from mutx_guardrail.pii.models import ENGLISH, installed_model, pinned_hashes
from mutx_guardrail.pii.name_judge import NameJudge
from mutx_guardrail.pii.name_lists import NameLists, Word, load_name_lists, words_of
from mutx_guardrail.pii.name_rules import NameRules
from mutx_guardrail.pii.name_words import NameWords, load_name_words
from mutx_guardrail.pii.pack import load_pack
from mutx_guardrail.pii.rule import Candidate
from mutx_guardrail.verdict import Layer

_CHUNK: Final = 2_000
_OVERLAP: Final = 120
LONGEST_TEXT: Final = 500_000

# What the model takes for a place, an organisation or another kind; a person that the rules see weighs more.
_OTHERS: Final = 0.6
_PERSONAL: Final = frozenset({Kind.PERSON, Kind.LOCATION})

# Rules of places where a person stands, whatever it is called.
_TOLD: Final = frozenset(
    {"introduced", "introduced-lower", "labelled", "labelled-lower", "title", "title-lower", "signed"}
)

# Rules of places where a place stands, though a person could be called like it.
_PLACES: Final = frozenset({"located", "block-town"})

_SURE: Final = 0.65
_SHORTEST_PART: Final = 2


class NamesDetector:
    """Finds names in the plain reading of a text; safe to share between threads.

    Args:
        readers: a model for each language; the first is taken for texts of no other.
        names: lists of names.
        telling: words that tell what stands beside them.
        rules: what finds people without a model.
    """

    layer = Layer.NAMES

    def __init__(
        self, readers: Mapping[str, EntityReader], names: NameLists, telling: NameWords, rules: NameRules
    ) -> None:
        if not readers:
            raise ValueError("a model for one language at least is wanted")
        self._readers, self._names, self._telling, self._rules = dict(readers), names, telling, rules
        self._judge = NameJudge(names, telling)

    def judge(self, document: Document) -> Signal:
        """Return what is found, in spans of the given text; the score is the surest finding's.

        Raises:
            LayerUnavailable: the text is longer than half a million characters, or the model failed.
        """
        view = document.plain
        if len(view.text) > LONGEST_TEXT:
            raise LayerUnavailable(self.layer, f"the text is longer than {LONGEST_TEXT} characters")
        findings = tuple(
            c.finding(view.original(c.start, c.end), view.name) for c in self.candidates(view.text)
        )
        return Signal(self.layer, max((f.confidence for f in findings), default=0.0), findings)

    def candidates(self, text: str) -> tuple[Candidate, ...]:
        """Return what is found in a reading, without overlaps, from left to right."""
        found = [
            replace(candidate, start=candidate.start + begin, end=candidate.end + begin)
            for begin, end in chunks(text)
            for candidate in self._in_chunk(text[begin:end])
        ]
        firms = self._rules.firms(text)
        free = list(outside_masks(without(sorted(found, key=lambda c: c.start), firms), text))
        people = merge(c for c in free if c.kind is Kind.PERSON)
        people = merge([*people, *outside_masks(named_again(people, text, self._telling.particles), text)])
        others = merge(c for c in free if c.kind is not Kind.PERSON)
        people = tuple(without(people, [c for c in others if c.rule in _PLACES]))
        return tuple(sorted([*people, *without(others, people)], key=lambda c: c.start))

    def _in_chunk(self, text: str) -> Iterator[Candidate]:
        check_time()
        if not any(map(str.isalpha, text)):
            return
        uncased = is_uncased(text)
        for candidate in [
            *self._rules.find(text, is_uncased=uncased),
            *self._by_model(text, is_uncased=uncased),
        ]:
            is_told = candidate.kind is not Kind.PERSON or candidate.rule in _TOLD
            if is_told or not self._judge.is_thing(text, candidate.start, candidate.end):
                yield candidate

    def _by_model(self, text: str, *, is_uncased: bool) -> Iterator[Candidate]:
        for entity in self._reader_for(text).read(with_capitals(text) if is_uncased else text):
            candidate = self._candidate(text, entity, is_uncased=is_uncased)
            if candidate is not None:
                yield candidate

    def _candidate(self, text: str, entity: Entity, *, is_uncased: bool) -> Candidate | None:
        """Return an entity as a candidate, cut to what is a name; None where it is none."""
        around = text[entity.start : entity.end + 1]
        words = self._words_of(text, entity, is_uncased=is_uncased)
        if not words or "@" in around or "://" in around:
            return None
        if len(words) == 1 and words[0].text.lower() in self._telling.products and entity.kind in _PERSONAL:
            return None
        confidence = (
            self._judge.confidence(words, is_uncased=is_uncased) if entity.kind is Kind.PERSON else _OTHERS
        )
        start, end = entity.start + words[0].start, entity.start + words[-1].end
        return Candidate(start, end, entity.kind, confidence, "model", Layer.NAMES) if confidence else None

    def _words_of(self, text: str, entity: Entity, *, is_uncased: bool) -> Sequence[Word]:
        """Return the words of an entity's first line from the first with a capital to the last."""
        words = list(words_of(text[entity.start : entity.end].partition("\n")[0]))
        if not is_uncased:
            first = next((at for at, word in enumerate(words) if word.is_capital), len(words))
            words = words[first : first + self._telling.capitals_end(words[first:])]
        if entity.kind is not Kind.PERSON:
            return words
        while is_uncased and len(words) > 1 and self._judge.is_no_name(words[-1].text):
            words.pop()
        return self._telling.after_titles(words)

    def _reader_for(self, text: str) -> EntityReader:
        """Return the model of the language whose commonest words the text has most of."""
        if len(self._readers) == 1:
            return next(iter(self._readers.values()))
        words = {word.text.lower() for word in words_of(text[:_CHUNK])}
        return max(self._readers.values(), key=lambda reader: len(words & reader.stop_words))


def names_detector(
    models: Mapping[str, Path] | None = None, hashes: Mapping[str, str] | None = None
) -> NamesDetector:
    """Return the detector with models that are what they should be.

    Args:
        models: a folder for each language; None for the English model that the service is installed with.
        hashes: what `model_hash` gives for each language's folder; None for the one that was tested.

    Raises:
        LayerUnavailable: a model is missing, another one, or cannot be loaded.
    """
    if models is None:
        models, hashes = {"en": installed_model(ENGLISH)}, {"en": pinned_hashes()[ENGLISH]}
    missing = models.keys() - (hashes or {}).keys()
    if missing:
        raise LayerUnavailable(Layer.NAMES, f"no hash is given for the model of {', '.join(sorted(missing))}")
    readers = {language: load_reader(folder, (hashes or {})[language]) for language, folder in models.items()}
    names, telling = load_name_lists(), load_name_words()
    stop_words = frozenset().union(*(reader.stop_words for reader in readers.values()))
    rules = NameRules(names, telling, load_pack("pii", "name_patterns.yml"), stop_words)
    detector = NamesDetector(readers, names, telling, rules)
    detector.candidates("My name is Jane Doe, said Mr. Smith of Paris.")
    return detector


def named_again(people: Sequence[Candidate], text: str, particles: frozenset[str]) -> Iterator[Candidate]:
    """Return the words that are a part of a name of several words found elsewhere in the text."""
    parts = {
        word.text
        for person in people
        if person.confidence >= _SURE and " " in text[person.start : person.end]
        for word in words_of(text[person.start : person.end])
        if len(word.text) > _SHORTEST_PART and word.text.lower() not in particles
    }
    for word in words_of(text) if parts else ():
        if word.text in parts:
            yield Candidate(word.start, word.end, Kind.PERSON, 0.6, "named-before", Layer.NAMES)


def without(candidates: Sequence[Candidate], others: Sequence[Candidate]) -> Iterator[Candidate]:
    """Return the candidates that share no character with the others; both are in order and apart."""
    at = 0
    for candidate in candidates:
        while at < len(others) and others[at].end <= candidate.start:
            at += 1
        if at == len(others) or others[at].start >= candidate.end:
            yield candidate


def chunks(text: str) -> Iterator[tuple[int, int]]:
    """Return pieces of a text of 2,000 characters at most that overlap by about 120, cut where words end."""
    begin = 0
    while True:
        end = _word_end(text, begin, begin + _CHUNK)
        yield begin, end
        if end == len(text):
            return
        begin = _word_end(text, begin + _OVERLAP, end - _OVERLAP)


def _word_end(text: str, least: int, at: int) -> int:
    """Return the last place up to `at` where a line, a sentence or a word ends; `at` where none is behind `least`."""
    if at >= len(text):
        return len(text)
    for mark in ("\n", ". ", " "):
        place = text.rfind(mark, max(least, at - _CHUNK // 2), at)
        if place > least:
            return place + len(mark)
    return at
