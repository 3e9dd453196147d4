"""The pattern layer's detector: all rules at once by an RE2 set, then the spans of those that hit.

RE2 has no backtracking: a text of n characters takes O(n), whatever the pattern and the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from math import prod

import re2

from mutx_guardrail.deadline import check_time
from mutx_guardrail.document import Document, Origin, View
from mutx_guardrail.layer import LayerUnavailable, Signal
from mutx_guardrail.patterns.pack import Pack, Rule
from mutx_guardrail.verdict import Finding, Layer

MOST_SPANS = 8
"""Spans told for one rule in one reading."""
_SET_MEMORY = 256 << 20
_JOINED = "joined"
MENTIONED = 0.4
"""By which a hit's weight is lessened where the words are spoken of."""
_NEAR, _CONTEXT = 40, 80
_OPENED = re.compile(r"(?:^|(?<=[\s(:=,]))[\"'“‘`«„][^\"'“”‘’`«»„]{0,24}$")
_CLOSED = re.compile(r"[^\"'“”‘’`«»„]{0,24}[\"'”’`»“]")
_SPOKEN_OF = re.compile(
    r"(?i)\b(?:regex|regular expression|pattern|match(?:es)?|detects?|filters?|blocks?|flags?|contains?|phrases?|words?"
    r"|strings?|sentences?|called|named|titled|example|such as|mean(?:s|ing)?|explains?|translate|saying|quotes?|wrote"
    r"|attacks?|injections?|prompts? like|inputs? like|texts? like|comments?|article|paper|chapter)\b[^.!?\n]{0,60}$"
)


class PatternDetector:
    """Judges a text by the rules of one pack."""

    layer = Layer.PATTERNS

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._ordinary, self._joined = _RuleSet(pack.patterns), _RuleSet(pack.joined)

    @property
    def version(self) -> str:
        """The pack's version."""
        return self._pack.version

    def judge(self, document: Document, exempt: frozenset[str] = frozenset()) -> Signal:
        """Return the rules that hit, in any reading; a rule counts once, whatever the number of its hits.

        Rules whose ids are in `exempt` are not counted for this text.
        """
        findings: list[Finding] = []
        weights: dict[str, float] = {}
        for view in document.views:
            check_time()
            for rule, spans in self._hits(view):
                if rule.id in exempt or not _counts(rule, document.origin):
                    continue
                weight = max(_weight(rule, view.text, start, end) for start, end in spans)
                if rule.id not in weights:
                    findings += [self._finding(rule, view, start, end) for start, end in spans]
                weights[rule.id] = max(weight, weights.get(rule.id, 0.0))
        score = 1.0 - prod(1.0 - weight for weight in weights.values())
        return Signal(Layer.PATTERNS, score, tuple(findings))

    def _hits(self, view: View) -> list[tuple[Rule, list[tuple[int, int]]]]:
        rules = self._joined if view.name == _JOINED else self._ordinary
        return [(self._pack.rules[at], spans) for at, spans in rules.find(view.text)]

    def _finding(self, rule: Rule, view: View, start: int, end: int) -> Finding:
        return Finding(
            kind=rule.kind or self._pack.check.value,
            span=view.original(start, end),
            confidence=_weight(rule, view.text, start, end),
            layer=Layer.PATTERNS,
            rule=rule.id,
            view=view.name,
        )


def _weight(rule: Rule, text: str, start: int, end: int) -> float:
    """Return how much one hit counts: less where the words stand in quotes and are spoken of, not said.

    Whoever quotes an attack and then asks for it to be done is met by other rules, and by the other layers.
    """
    before, after = text[max(0, start - _NEAR) : start], text[end : end + _NEAR]
    opened = _OPENED.search(before)
    if opened is None or not _CLOSED.match(after):
        return rule.weight
    return (
        rule.weight * MENTIONED
        if _SPOKEN_OF.search(text[: start - len(opened.group())][-_CONTEXT:])
        else rule.weight
    )


def _counts(rule: Rule, origin: Origin) -> bool:
    return not rule.origins or origin in rule.origins


class _RuleSet:
    """Patterns compiled together and each by itself."""

    def __init__(self, patterns: Sequence[str]) -> None:
        options = re2.Options()
        options.case_sensitive = False
        options.max_mem = _SET_MEMORY
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        # The empty pattern hits every text: where it does not, the engine has failed, which it tells in no other way.
        for pattern in (*patterns, ""):
            self._set.Add(pattern)
        self._set.Compile()
        self._single = [re2.compile(pattern, options) for pattern in patterns]

    def find(self, text: str) -> list[tuple[int, list[tuple[int, int]]]]:
        """Return the place of each pattern that hits, with spans.

        Raises:
            LayerUnavailable: the engine ran out of the memory that it may use.
        """
        hits = set(self._set.Match(text) or ())
        if len(self._single) not in hits:
            raise LayerUnavailable(Layer.PATTERNS, "the engine ran out of its memory")
        found = []
        for at in sorted(hits - {len(self._single)}):
            spans = [match.span() for match in islice(self._single[at].finditer(text), MOST_SPANS)]
            if spans:
                found.append((at, spans))
        return found
