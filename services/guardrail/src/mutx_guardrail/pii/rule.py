"""What a rule for a structured kind is, and how it is applied to a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from mutx_guardrail.pii.context import Mentions
from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.matching import Haystack, Pattern
from mutx_guardrail.verdict import Finding, Layer, Span

GLUE: Final = "-/._@"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A span (code points of the reading) that may be personal data."""

    start: int
    end: int
    kind: Kind
    confidence: float
    rule: str
    layer: Layer = Layer.PATTERNS
    view: str = ""

    def finding(self, span: Span, view: str) -> Finding:
        """Return it as what was found at a span of the given text."""
        return Finding(self.kind.value, span, self.confidence, self.layer, self.rule, view)


@dataclass(frozen=True, slots=True)
class Rule:
    """One form of one kind.

    Args:
        alone: confidence without a context word; 0 where one is wanted.
        supported: confidence with a word of `context` near.
        digits: how many digits a text has at least that can match.
        marks: bytes of which a text has at least one that can match; empty for any.
        check: whether the matched value is valid (checksum, range).
        yields: whether the rule gives way where a word for another sort of number is nearer.
        glue: characters that tie the value to a longer token; such hits do not count.
    """

    id: str
    kind: Kind
    pattern: Pattern
    alone: float
    supported: float
    context: tuple[str, ...] = ()
    digits: int = 0
    marks: tuple[bytes, ...] = ()
    check: Callable[[str], bool] = lambda _value: True
    yields: bool = False
    glue: str = GLUE

    def find(self, hay: Haystack, mentions: Mentions) -> Iterator[Candidate]:
        """Return what of a text has this form and is valid."""
        if not self._can_match(hay, mentions):
            return
        for hit in hay.hits(self.pattern):
            confidence = self._confidence(mentions, hit.start, hit.end)
            if not confidence or not hay.stands_alone(hit.start, hit.end):
                continue
            if self.glue and hay.is_glued(hit.start, hit.end, self.glue):
                continue
            if self.check(hay.text[hit.start : hit.end]):
                yield Candidate(hit.start, hit.end, self.kind, confidence, self.id)

    def _can_match(self, hay: Haystack, mentions: Mentions) -> bool:
        if hay.digits < self.digits or not (self.alone or mentions.has(self.context)):
            return False
        return not self.marks or any(mark in hay.data for mark in self.marks)

    def _confidence(self, mentions: Mentions, start: int, end: int) -> float:
        if self.yields and mentions.nearest_is_other(self.context, start):
            return 0.0
        near = bool(self.context) and mentions.near(self.context, start, end)
        return self.supported if near else self.alone
