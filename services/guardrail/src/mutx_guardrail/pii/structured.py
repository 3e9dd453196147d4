"""The part of personal data that has a form: found by patterns, proved by validators, in linear time."""

from __future__ import annotations

import sys
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from mutx_guardrail.deadline import check_time
from mutx_guardrail.document import Document
from mutx_guardrail.layer import Signal
from mutx_guardrail.pii.addresses import AddressRule
from mutx_guardrail.pii.context import ContextWords, Mentions, load_context_words
from mutx_guardrail.pii.encoded import readings
from mutx_guardrail.pii.masking import outside_masks
from mutx_guardrail.pii.matching import Haystack
from mutx_guardrail.pii.merge import merge
from mutx_guardrail.pii.pack import load_pack
from mutx_guardrail.pii.phones import PhoneRule
from mutx_guardrail.pii.rule import Candidate
from mutx_guardrail.pii.rules import rules_of
from mutx_guardrail.verdict import Finding, Layer

# RE2 builds the second half of an automaton at the first match: tens of milliseconds, here and not in a request.
_FIRST: Final = """Address: 12 North Main Street, Apt. 4, Springfield, IL 62701; 5 rue de la Paix, 75002 Paris; 7 Aasa 3
> 123 Ringvej 144
> Apt. 902
> Norway 64389
Musterstraße 12a, 10115 Berlin; Calle Mayor 15; Dorpsstraat 3; the corner of Alšova 4 and Main Road; PO Box 12
sort code 20-00-00, zip 12345
PSC 12, Box 34 APO AA 61487; Élan 7; born 01/02/1980, 3 May 1990; jürgen@example.com; a (at) example (dot) com
phone +49 30 901820; card 4111 1111 1111 1111; DE89 3704 0044 0532 0130 00; ::1; 192.0.2.1; passport A1234567"""


class AnyRule(Protocol):
    """What finds candidates in a text."""

    def find(self, hay: Haystack, mentions: Mentions) -> Iterator[Candidate]:
        """Return them."""


class StructuredDetector:
    """Finds structured personal data; safe to share between threads."""

    layer = Layer.PATTERNS

    def __init__(self, rules: Sequence[AnyRule], words: ContextWords) -> None:
        self._rules, self._words, self._digits = tuple(rules), words, _ascii_digits()

    def judge(self, document: Document) -> Signal:
        """Return what is found, in spans of the given text, from left to right; the score is the surest finding's.

        Besides the plain reading, what is encoded in it is looked at; what is found there has the whole encoded piece
        for its span, and stands where nothing as sure was found in plain.
        """
        found = (
            candidate.finding(view.original(candidate.start, candidate.end), view.name)
            for view in readings(document)
            for candidate in self.candidates(view.text)
        )
        findings = _apart(found)
        return Signal(self.layer, max((f.confidence for f in findings), default=0.0), findings)

    def candidates(self, text: str) -> tuple[Candidate, ...]:
        """Return what is found in a reading, without overlaps, from left to right."""
        # Digits of other scripts are digits; they are one character each there and here.
        hay = Haystack(text if text.isascii() else text.translate(self._digits))
        mentions = self._words.scan(hay)
        found: list[Candidate] = []
        for rule in self._rules:
            check_time()
            found += rule.find(hay, mentions)
        return merge(outside_masks(found, text))


def structured_detector() -> StructuredDetector:
    """Return the detector with all rules that the package ships."""
    pack = load_pack("pii", "rules.yml")
    date = pack.pattern("<DATE>")
    rules: tuple[AnyRule, ...] = (
        *rules_of(pack),
        PhoneRule(date),
        AddressRule(load_pack("pii", "addresses.yml")),
    )
    detector = StructuredDetector(rules, load_context_words())
    detector.candidates(_FIRST)
    return detector


def _apart(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the surest findings that share no character, from left to right; of two as sure the first."""
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda f: -f.confidence):
        at = bisect_left(kept, finding.span, key=lambda f: f.span)
        if not any(other.span.overlaps(finding.span) for other in kept[max(0, at - 1) : at + 1]):
            kept.insert(at, finding)
    return tuple(kept)


def _ascii_digits() -> Mapping[int, str]:
    """Return the ASCII digit for each decimal digit of another script."""
    codes = (code for code in range(0x80, sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Nd")
    return {code: str(unicodedata.decimal(chr(code))) for code in codes}
