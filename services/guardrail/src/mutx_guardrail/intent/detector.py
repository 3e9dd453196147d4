"""The layer that judges text from outside by intent: what it wants, of whom, and whether that is what the agent is for.

Cheap and certain: no model, no network, the same answer each time. It sees a tool's or a page's text alone; what a
user writes is a request by right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from mutx_guardrail.document import FOREIGN, Document, View
from mutx_guardrail.intent.directive import Directive, find_directive
from mutx_guardrail.intent.evidence import Surroundings, facts, likelihood, load_weights
from mutx_guardrail.intent.genre import genres
from mutx_guardrail.intent.lexicon import Deed, load_lexicon
from mutx_guardrail.intent.purpose import Purpose, Topic, stems
from mutx_guardrail.intent.segment import Sentence, sentences
from mutx_guardrail.intent.signs import load_signs
from mutx_guardrail.layer import Signal
from mutx_guardrail.verdict import Finding, Layer

FOREIGN_INSTRUCTION: Final = "foreign_instruction"
MOST_FINDINGS: Final = 256
TOLD: Final = 0.2
"""Likelihood from which a sentence is told at all."""
_MOST_PURPOSES: Final = 64
_SPEAKING: Final = (
    "ai", "llm", "model", "assist", "agent", "bot", "gpt", "instruct", "prompt", "task", "system", "user", "ki-",
    "l'ia",
)  # fmt: skip
"""One of these is in every sentence that commands nothing and yet speaks to an agent."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """A sentence of one reading: the class of what it wants, and what is so of it (`evidence.facts`)."""

    view: View
    sentence: Sentence
    deed: Deed
    facts: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Seen:
    sentence: Sentence
    directive: Directive | None
    signs: frozenset[str]

    @property
    def deeds(self) -> frozenset[Deed]:
        return self.directive.deeds if self.directive else frozenset()

    @property
    def deed(self) -> Deed:
        """The first of what it wants, in the order of `Deed`; concealment before all."""
        if "conceal" in self.signs:
            return Deed.CONCEAL
        return next((deed for deed in Deed if deed in self.deeds), Deed.OVERRIDE)


class IntentDetector:
    """Judges a foreign text by what it asks for."""

    layer = Layer.INTENT

    def __init__(self) -> None:
        self._lexicon, self._signs, self._weights = load_lexicon(), load_signs(), load_weights()
        self._purpose = lru_cache(_MOST_PURPOSES)(self._read_purpose)

    def judge(
        self, document: Document, purpose: str = "", task: str = "", exempt: frozenset[str] = frozenset()
    ) -> Signal:
        """Return the likeliest instruction, with a finding for each sentence that may be one.

        Args:
            document: the text; one that is not foreign holds no foreign instruction.
            purpose: what the agent is declared to be there for; may be empty.
            task: what its user asked for now; may be empty.
            exempt: rules that are not counted.

        Raises:
            LayerUnavailable: the engine of patterns ran out of its memory.
        """
        best: dict[tuple[int, int], Finding] = {}
        for each in self.assess(document, purpose, task):
            confidence, rule = likelihood(each.facts, self._weights), f"intent-{each.deed}"
            if confidence < TOLD or rule in exempt:
                continue
            span = each.view.original(each.sentence.start, each.sentence.end)
            known = best.get((span.start, span.end))
            if known is None or known.confidence < confidence:
                finding = Finding(FOREIGN_INSTRUCTION, span, confidence, Layer.INTENT, rule, each.view.name)
                best[span.start, span.end] = finding
        surest = sorted(best.values(), key=lambda finding: -finding.confidence)[:MOST_FINDINGS]
        score = surest[0].confidence if surest else 0.0
        return Signal(Layer.INTENT, score, tuple(sorted(surest, key=lambda finding: finding.span)))

    def assess(self, document: Document, purpose: str = "", task: str = "") -> Iterator[Assessed]:
        """Yield the sentences, of all readings, that want something or speak to an agent; as `judge` does it."""
        if document.origin not in FOREIGN:
            return
        meant, plain = self._purpose(purpose, task), document.plain
        pieces = sentences(plain.text)
        yield from self._assess(plain, pieces, meant)
        for view in document.views[1:]:
            yield from self._assess(view, _differing(view, plain, pieces), meant)

    def _read_purpose(self, purpose: str, task: str) -> Purpose:
        return Purpose.of(purpose, task, self._lexicon)

    def _assess(self, view: View, pieces: list[Sentence], purpose: Purpose) -> Iterator[Assessed]:
        seen = [self._look(each) for each in pieces]
        commanding = sum(each.directive is not None for each in seen)
        others = max(1, len(seen) - 1)
        speaking = [each for each in seen if each.directive or each.signs]
        if not speaking:
            return
        kinds, topic = genres(view.text), Topic(view.text, self._lexicon)
        for each in speaking:
            words = stems(each.sentence.text, self._lexicon)
            around = Surroundings(
                kinds,
                commanding=(commanding - (each.directive is not None)) / others,
                topic=topic.share(words) if topic.is_known else None,
            )
            cover = purpose.cover(each.deeds, words)
            found = facts(each.directive, each.signs, each.sentence.place, around, cover)
            if found:
                yield Assessed(view, each.sentence, each.deed, found)

    def _look(self, sentence: Sentence) -> _Seen:
        lowered = sentence.text.lower().replace("\u2019", "'")
        directive = find_directive(sentence.text, lowered, self._lexicon)
        is_spoken = directive is not None or any(word in lowered for word in _SPEAKING)
        return _Seen(sentence, directive, self._signs.of(lowered) if is_spoken else frozenset())


def _differing(view: View, plain: View, pieces: list[Sentence]) -> list[Sentence]:
    """Return the sentences of a further reading; of one that swaps letters for letters, those that it changes."""
    if len(view.text) != len(plain.text):
        return sentences(view.text)
    cut = (replace(each, text=view.text[each.start : each.end]) for each in pieces)
    return [new for new, old in zip(cut, pieces, strict=True) if new.text != old.text]
