"""What follows from an instruction in a tool's or a page's text: told, taken out of the text, or the text refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mutx_guardrail.combine import Outcome, rescale, tell, unavailable_check
from mutx_guardrail.document import FOREIGN, Document
from mutx_guardrail.intent.language import is_known
from mutx_guardrail.layer import LayerUnavailable, Signal
from mutx_guardrail.pii.masking import WITHHELD
from mutx_guardrail.policy import Foreign, Judged
from mutx_guardrail.verdict import Action, Check, CheckName, Finding, Layer, Reason

FOREIGN_FACTOR = 0.6
"""Where `intent` says nothing certain of a tool's or a page's text, less is enough for the other layers."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """How the layers count for one text.

    Attributes:
        outcomes: of the layers that are compared by their scores.
        factor: by which their thresholds are lowered.
        intent: what the layer `intent` says; None where it is not asked.
    """

    outcomes: list[Outcome]
    factor: float
    intent: Outcome | None


def weigh(outcomes: Sequence[Outcome], document: Document) -> Weighed:
    """Return how the layers count.

    The classifier was made of what users write: to it, letters and manuals that command people look like attacks (it
    refused two in five of the measurement's ordinary ones). So in a foreign text it counts only where `intent` says
    nothing certain: it did not judge, or does not know the language.
    """
    intent = next((each for each in outcomes if each.layer is Layer.INTENT), None)
    others = [each for each in outcomes if each is not intent]
    if document.origin not in FOREIGN:
        return Weighed(others, 1.0, intent)
    if not isinstance(intent, Signal) or not is_known(document.plain.text):
        return Weighed(others, FOREIGN_FACTOR, intent)
    counted = [each for each in others if not (isinstance(each, Signal) and each.layer is Layer.CLASSIFIER)]
    return Weighed(counted, 1.0, intent)


class Withholding:
    """Puts the same words in the place of every sentence."""

    def mask(self, kind: str, value: str) -> str:  # noqa: ARG002 - a masker's signature
        """Return what stands in its place."""
        return WITHHELD


def with_intent(check: Check, outcome: Outcome, policy: Judged, foreign: Foreign) -> Check:
    """Return the check of prompt injection with what the layer `intent` says; a refusal stays one.

    Args:
        check: by the other layers.
        outcome: the layer's signal, or that it could not judge.
        policy: of the check; where it only flags, so does this.
        foreign: from which likelihood on what follows. `mask_from` becomes a half on the check's scale.
    """
    if isinstance(outcome, LayerUnavailable):
        if check.action is Action.BLOCK:
            return replace(check, unavailable=tuple(dict.fromkeys((*check.unavailable, outcome.layer))))
        return unavailable_check(check.name, [outcome], check.findings)
    findings = (*check.findings, *outcome.findings)
    action = _action(outcome.score, policy, foreign)
    if check.action is Action.BLOCK or check.unavailable or action is None:
        return replace(check, findings=findings)
    score = max(rescale(outcome.score, foreign.mask_from), check.score or 0.0)
    blocks = action is Action.BLOCK
    return replace(
        check,
        passed=False,
        score=score,
        findings=findings,
        action=action,
        reason=Reason.PROMPT_INJECTION if blocks else None,
        details=_tell(outcome.findings, foreign),
        decided_by=Layer.INTENT,
    )


def withheld(checks: Iterable[Check], foreign: Foreign) -> tuple[Finding, ...]:
    """Return the sentences that are taken out of the text: none unless the check masks."""
    for check in checks:
        if check.name is CheckName.PROMPT_INJECTION and check.action is Action.MASK:
            return tuple(
                each
                for each in check.findings
                if each.layer is Layer.INTENT and each.confidence >= foreign.mask_from
            )
    return ()


def _action(score: float, policy: Judged, foreign: Foreign) -> Action | None:
    if score < foreign.mask_from:
        return None
    if policy.action is Action.FLAG or foreign.action is Action.FLAG:
        return Action.FLAG
    return Action.BLOCK if score >= foreign.block_from and foreign.action is Action.BLOCK else Action.MASK


def _tell(findings: Iterable[Finding], foreign: Foreign) -> str:
    """Say what was seen, by class, never by text."""
    seen = tuple(each for each in findings if each.confidence >= foreign.mask_from)
    return f"instructions from outside the agent's purpose, {tell(seen, Layer.INTENT)}"
