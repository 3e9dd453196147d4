"""What of a text's personal data a policy asks for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from mutx_guardrail.document import Document
from mutx_guardrail.layer import Detector
from mutx_guardrail.pii.kinds import ALIASES, DEFAULT_KINDS, Kind
from mutx_guardrail.pii.merge import merge
from mutx_guardrail.pii.rule import Candidate
from mutx_guardrail.policy import Pii
from mutx_guardrail.verdict import Finding, Layer, Span

_KINDS: Final = frozenset(Kind)


def find_pii(
    document: Document, structured: Detector, names: Detector | None, policy: Pii
) -> tuple[Finding, ...]:
    """Return what both parts find and the policy asks for, without overlaps, from left to right.

    Args:
        document: the text.
        structured: the part by patterns.
        names: the part by a model; None where a profile does without.
        policy: kinds (none named: all but organisations, dates and groups) and threshold.

    Raises:
        LayerUnavailable: a part could not judge; nothing is returned then.
    """
    findings = structured.judge(document).findings
    if names is not None:
        findings += names.judge(document).findings
    return select_pii(findings, policy)


def select_pii(findings: Iterable[Finding], policy: Pii) -> tuple[Finding, ...]:
    """Return which of the parts' findings a policy asks for; of those that overlap the heavier stays."""
    kinds = wanted_kinds(policy)
    asked = [f for f in findings if f.kind in kinds and f.confidence >= policy.threshold]
    candidates = (
        Candidate(f.span.start, f.span.end, Kind(f.kind), f.confidence, f.rule, f.layer, f.view)
        for f in _without_parts(asked)
    )
    return tuple(c.finding(Span(c.start, c.end), c.view) for c in merge(candidates))


def _without_parts(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Return the findings but for names within something structured: a street's name is no person."""
    whole = sorted(f.span for f in findings if f.layer is Layer.PATTERNS)
    starts = [span.start for span in whole]
    for finding in findings:
        at = bisect_right(starts, finding.span.start) - 1
        if finding.layer is not Layer.NAMES or at < 0 or whole[at].end < finding.span.end:
            yield finding


def wanted_kinds(policy: Pii) -> frozenset[Kind]:
    """Return the kinds that a policy names, under our name or Presidio's; the usual ones where it names none.

    Raises:
        ValueError: there is no such kind.
    """
    if not policy.kinds:
        return DEFAULT_KINDS
    unknown = sorted(set(policy.kinds) - _KINDS - ALIASES.keys())
    if unknown:
        raise ValueError(f"no kinds of personal data: {', '.join(unknown)}")
    return frozenset(ALIASES.get(kind) or Kind(kind) for kind in policy.kinds)
