"""What the guardrail answers: the published names, reasons and actions, and the one JSON form of a verdict.

A verdict holds spans and numbers, never a piece of the judged text; `sanitized` alone does, for the caller.
Source: REQUIREMENTS, GUARD-2 to GUARD-5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

MODEL = "local-guard-v1"


class CheckName(StrEnum):
    """What is looked at."""

    PROMPT_INJECTION = "prompt_injection"
    PII_DETECTION = "pii_detection"
    TOXIC_CONTENT = "toxic_content"
    LENGTH = "length"
    ENCODING = "encoding"
    SAFE_CONTENT = "safe_content"
    SECRET_DETECTION = "secret_detection"  # noqa: S105 - a check's name
    OUTPUT_ENCODING = "output_encoding"
    TOKEN_LIMIT = "token_limit"  # noqa: S105 - a check's name
    RATE_LIMIT = "rate_limit"
    OUTPUT_LENGTH = "output_length"
    ERROR_RATE = "error_rate"
    INTENT_DRIFT = "intent_drift"


class Reason(StrEnum):
    """Why a request is not allowed."""

    PROMPT_INJECTION = "prompt_injection_detected"
    TOXIC_CONTENT = "toxic_content_detected"
    UNSAFE_CONTENT = "unsafe_content_detected"
    PII = "pii_detected"
    SECRET = "secret_detected"  # noqa: S105 - a reason's name
    LENGTH = "length_exceeded"
    ENCODING = "dangerous_characters_detected"
    RATE_LIMIT = "rate_limit_exceeded"
    AGENT_PAUSED = "agent_paused"
    CHECK_UNAVAILABLE = "check_unavailable"


class Action(StrEnum):
    """What is done. `BLOCK`, `RATE_LIMIT` and `PAUSE` refuse the request; the others let it pass, changed or noted."""

    BLOCK = "block"
    MASK = "mask"
    TRUNCATE = "truncate"
    RATE_LIMIT = "rate_limit"
    FLAG = "flag"
    PAUSE = "pause"

    @property
    def refuses(self) -> bool:
        """Whether the request does not pass."""
        return self in {Action.BLOCK, Action.RATE_LIMIT, Action.PAUSE}


class Layer(StrEnum):
    """The parts that judge, cheapest first."""

    NORMALISE = "normalise"
    PATTERNS = "patterns"
    INTENT = "intent"
    CLASSIFIER = "classifier"
    JUDGE = "judge"
    NAMES = "names"
    ANOMALY = "anomaly"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A piece of the given text: code points `start` up to, not including, `end`; 0 ≤ start ≤ end ≤ length."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"{self.start} to {self.end} is no span")

    def overlaps(self, other: Span) -> bool:
        """Say whether the two share a character."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a layer saw: where, what it is called, and how sure the layer is (0 to 1)."""

    kind: str
    span: Span
    confidence: float
    layer: Layer
    rule: str = ""
    view: str = ""

    def document(self) -> dict[str, object]:
        """Return the JSON form; a rule or reading that is not there is left out."""
        whole: dict[str, object] = {
            "kind": self.kind,
            "start": self.span.start,
            "end": self.span.end,
            "confidence": round(self.confidence, 4),
            "layer": self.layer.value,
        }
        return whole | ({"rule": self.rule} if self.rule else {}) | ({"view": self.view} if self.view else {})


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check.

    Args:
        score: how likely it is (0 to 1) that the text is what the check looks for; None where nothing is measured.
        action: what follows; None when the check passed with nothing to do.
        unavailable: layers that should have judged and did not; then `passed` is False, whatever the others said.
        wait_s: seconds after which the same request may pass; 0 where time changes nothing.
    """

    name: CheckName
    passed: bool
    score: float | None = None
    findings: tuple[Finding, ...] = ()
    action: Action | None = None
    reason: Reason | None = None
    details: str = ""
    decided_by: Layer | None = None
    unavailable: tuple[Layer, ...] = ()
    wait_s: float = 0.0

    def __post_init__(self) -> None:
        if self.unavailable and self.passed:
            raise ValueError(f"{self.name} cannot have passed: {', '.join(self.unavailable)} did not judge")
        if self.action is not None and self.action.refuses and (self.passed or self.reason is None):
            raise ValueError(f"{self.name} refuses without a reason, or passed")

    @property
    def confidence(self) -> float:
        """How sure the check is of what it says: of the finding where it failed, of its absence where it passed."""
        if self.unavailable and self.reason in {None, Reason.CHECK_UNAVAILABLE}:
            return 0.0
        if self.score is None:
            return 1.0
        return self.score if not self.passed else 1.0 - self.score

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        whole: dict[str, object] = {
            "name": self.name.value,
            "passed": self.passed,
            "confidence": round(self.confidence, 4),
            "findings": [finding.document() for finding in self.findings],
        }
        if self.score is not None:
            whole["score"] = round(self.score, 6)
        if self.action is not None:
            whole["action"] = self.action.value
        if self.decided_by is not None:
            whole["decided_by"] = self.decided_by.value
        if self.unavailable:
            whole["unavailable"] = [layer.value for layer in self.unavailable]
        if self.wait_s:
            whole["wait_s"] = round(self.wait_s, 3)
        return whole


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one text."""

    checks: tuple[Check, ...]
    latency_ms: float
    sanitized: str
    policy: str
    missing_layers: tuple[Layer, ...] = ()
    model: str = MODEL
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def allowed(self) -> bool:
        """Whether the text may pass: no check refuses, and none was left out."""
        return self.refusal is None

    @property
    def refusal(self) -> Check | None:
        """The check that the answer is about: the surest of those that refuse; one that could not run is least sure."""
        refusing = [
            check for check in self.checks if check.unavailable or (check.action and check.action.refuses)
        ]
        return max(refusing, key=lambda check: check.confidence, default=None)

    def with_checks(self, further: Iterable[Check]) -> Verdict:
        """Return the verdict with the outcomes of more checks."""
        return replace(self, checks=(*self.checks, *further))

    def document(self) -> dict[str, object]:
        """Return the response's JSON form (GUARD-5, and the optional fields)."""
        refusal = self.refusal
        whole: dict[str, object] = {"allowed": refusal is None}
        if refusal is not None:
            whole |= {
                "reason": (refusal.reason or Reason.CHECK_UNAVAILABLE).value,
                "details": refusal.details,
                "confidence": round(refusal.confidence, 4),
                "action": (refusal.action or Action.BLOCK).value,
            }
            if refusal.wait_s:
                whole["retry_after_s"] = round(refusal.wait_s, 3)
        whole |= {
            "checks": [check.document() for check in self.checks],
            "latency_ms": round(self.latency_ms, 3),
            "model": self.model,
            "policy": self.policy,
            "degraded": [layer.value for layer in self.missing_layers],
        }
        if refusal is None:
            whole["sanitized"] = self.sanitized
        return whole | dict(self.extra)
