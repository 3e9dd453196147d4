"""Parts whose models are stand-ins: patterns, personal data and secrets are the real ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from mutx_guardrail.intent.detector import IntentDetector
from mutx_guardrail.layer import LayerUnavailable, Signal
from mutx_guardrail.output.secrets import secret_detector
from mutx_guardrail.panel import Panel
from mutx_guardrail.parts import Parts
from mutx_guardrail.patterns.detector import PatternDetector
from mutx_guardrail.patterns.pack import load_pack
from mutx_guardrail.pii.structured import structured_detector
from mutx_guardrail.pipeline import Pipeline
from mutx_guardrail.policy import Policy, parse_policy
from mutx_guardrail.verdict import Finding, Layer, Span


class FakeModel:
    """Says one score of every text, or fails as it is told to."""

    def __init__(
        self, layer=Layer.CLASSIFIER, score=0.1, threshold=0.8, fails: Exception | None = None, takes_s=0.0
    ):
        self.layer, self.score, self.threshold = layer, score, threshold
        self.fails, self.takes_s, self.seen = fails, takes_s, []

    def judge(self, document):
        self.seen.append(document.plain.text)
        time.sleep(self.takes_s)
        if self.fails:
            raise self.fails
        return Signal(self.layer, self.score)


class FakeNames:
    """Knows one name and one place."""

    layer = Layer.NAMES

    def judge(self, document):
        findings = []
        for kind, name in (("PERSON", "Ada Lovelace"), ("LOCATION", "Oslo")):
            at = document.plain.text.find(name)
            if at >= 0:
                span = document.plain.original(at, at + len(name))
                findings.append(Finding(kind, span, 0.9, self.layer, "model"))
        return Signal(self.layer, 0.9 if findings else 0.0, tuple(findings))


class FakeJudge:
    """A judge without a server."""

    def __init__(self, scores=None, fails: Exception | None = None):
        self.scores, self.fails = scores or {}, fails

    def checks(self, _direction):
        return tuple(self.scores)

    async def judge(self, document, _direction, _purpose=""):
        if self.fails:
            raise self.fails
        whole = Span(0, len(document.text))
        return {
            check: Signal(
                Layer.JUDGE, score, (Finding(check.value, whole, score, Layer.JUDGE),) if score > 0.5 else ()
            )
            for check, score in self.scores.items()
        }


@lru_cache(maxsize=1)
def real_parts():
    return {
        "injection_patterns": PatternDetector(load_pack("injection")),
        "toxicity_patterns": PatternDetector(load_pack("toxicity")),
        "personal": structured_detector(),
        "secrets": secret_detector(),
        "intent": IntentDetector(),
    }


def parts_with(**changed) -> Parts:
    models = {
        "injection": FakeModel(),
        "toxicity": FakeModel(),
        "embed": lambda text: np.full(384, len(text) % 7 + 1, dtype=np.float32),
        "names": FakeNames(),
    }
    return Parts(**(real_parts() | models | changed))


def broken(layer: Layer, why="its file is another one") -> LayerUnavailable:
    return LayerUnavailable(layer, why)


def pipeline_of(
    policy: str | Policy = "version: 1", limit_s=5.0, key=None, defects=None, **parts
) -> Pipeline:
    held: Policy = parse_policy(policy) if isinstance(policy, str) else policy
    source: Callable[[], Policy] = lambda: held  # noqa: E731 - a policy that never changes
    panel = Panel(
        parts_with(**parts), None, limit_s, (defects.append if defects is not None else lambda _error: None)
    )
    return Pipeline(source, panel, key=lambda: key)
