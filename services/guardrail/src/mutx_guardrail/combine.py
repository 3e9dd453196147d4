"""From what the layers saw to one check: the surest layer decides.

Each layer has a threshold of its own, fixed on its validation sources. Scores are put on one scale on which that
threshold is a half, so that layers can be compared and a policy's threshold means the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from mutx_guardrail.layer import LayerUnavailable, Signal
from mutx_guardrail.policy import Judged, Length
from mutx_guardrail.verdict import Action, Check, CheckName, Finding, Layer, Reason

HALF = 0.5
PATTERN_THRESHOLD = 0.6
"""One hit of a rule of this weight is enough; weaker rules need company."""

Outcome = Signal | LayerUnavailable

_REASONS = {
    CheckName.PROMPT_INJECTION: Reason.PROMPT_INJECTION,
    CheckName.TOXIC_CONTENT: Reason.TOXIC_CONTENT,
    CheckName.SAFE_CONTENT: Reason.UNSAFE_CONTENT,
}


def rescale(score: float, threshold: float) -> float:
    """Return a score (0 to 1) on the scale on which `threshold` is a half; order is kept."""
    if score < threshold:
        return HALF * score / threshold
    return HALF + HALF * (score - threshold) / (1.0 - threshold) if threshold < 1.0 else HALF


class Joins(Protocol):
    """What makes one likelihood of the patterns' and the classifier's."""

    def fuse(self, check: CheckName, patterns: Signal | None, classifier: Signal | None) -> Signal:
        """Return the joint signal."""


def join(
    outcomes: Sequence[Outcome], check: CheckName, joins: Joins, classifier_threshold: float
) -> list[Outcome]:
    """Return the outcomes with those of patterns and classifier made one; it bears the name of the surer of the two."""
    signals = {outcome.layer: outcome for outcome in outcomes if isinstance(outcome, Signal)}
    patterns, classifier = signals.get(Layer.PATTERNS), signals.get(Layer.CLASSIFIER)
    if patterns is None or classifier is None:
        return list(outcomes)
    by_patterns = rescale(patterns.score, PATTERN_THRESHOLD) > rescale(classifier.score, classifier_threshold)
    joint = replace(
        joins.fuse(check, patterns, classifier), layer=Layer.PATTERNS if by_patterns else Layer.CLASSIFIER
    )
    return [
        joint,
        *(outcome for outcome in outcomes if outcome is not patterns and outcome is not classifier),
    ]


def scored_check(
    name: CheckName,
    outcomes: Sequence[Outcome],
    thresholds: Mapping[Layer, float],
    policy: Judged,
    *,
    factor: float = 1.0,
) -> Check:
    """Return the check of what is judged by a score.

    Args:
        name: the check.
        outcomes: of each layer that has to judge: what it says, or that it could not.
        thresholds: each layer's own.
        policy: what follows from which score on.
        factor: by which thresholds are lowered (1 leaves them).
    """
    missing = tuple(outcome for outcome in outcomes if isinstance(outcome, LayerUnavailable))
    signals = [outcome for outcome in outcomes if isinstance(outcome, Signal)]
    scaled = [(rescale(each.score, thresholds[each.layer] * factor), each) for each in signals]
    score, surest = max(scaled, key=lambda pair: pair[0], default=(0.0, None))
    findings = tuple(finding for _, signal in scaled for finding in signal.findings)
    limit = HALF if policy.threshold is None else policy.threshold
    layer = surest.layer if surest else None
    if score >= limit and policy.action is Action.BLOCK:
        return Check(
            name,
            passed=False,
            score=score,
            findings=findings,
            action=Action.BLOCK,
            reason=_REASONS[name],
            details=tell(findings, layer),
            decided_by=layer,
            unavailable=tuple(each.layer for each in missing),
        )
    if missing:
        return unavailable_check(name, missing, findings)
    if score >= limit:
        return Check(
            name, passed=False, score=score, findings=findings, action=Action.FLAG,
            details=tell(findings, layer), decided_by=layer,
        )  # fmt: skip
    return Check(name, passed=True, score=score, findings=findings, decided_by=layer)


def unavailable_check(
    name: CheckName, missing: Sequence[LayerUnavailable], findings: tuple[Finding, ...] = ()
) -> Check:
    """Return the check of what could not be judged."""
    return Check(
        name,
        passed=False,
        findings=findings,
        action=Action.BLOCK,
        reason=Reason.CHECK_UNAVAILABLE,
        details="; ".join(str(each) for each in missing),
        unavailable=tuple(dict.fromkeys(each.layer for each in missing)),
    )


def found_check(
    name: CheckName, findings: tuple[Finding, ...], action: Action, reason: Reason, layer: Layer | None = None
) -> Check:
    """Return the check of what is found in places: personal data, keys, dangerous characters."""
    if not findings:
        return Check(name, passed=True)
    return Check(
        name,
        passed=False,
        findings=findings,
        action=action,
        reason=reason if action.refuses else None,
        details=tell(findings, layer),
        decided_by=layer,
    )


def length_check(name: CheckName, policy: Length, *, is_long: bool) -> Check:
    """Return the check of a text's length."""
    if not is_long:
        return Check(name, passed=True)
    return Check(
        name,
        passed=False,
        action=policy.action,
        reason=Reason.LENGTH if policy.action.refuses else None,
        details=f"longer than {policy.max_tokens} tokens",
    )


def tell(findings: Sequence[Finding], layer: Layer | None) -> str:
    """Say what was found, by kind and rule, never by text."""
    names = dict.fromkeys(finding.rule or finding.kind for finding in findings)
    by = f" by {layer.value}" if layer else ""
    return f"found{by}: {', '.join(list(names)[:8])}" if names else f"found{by}"
