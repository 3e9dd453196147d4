"""One likelihood of the patterns' and the classifier's: a small logistic function, fitted on sources held out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mutx_guardrail.classifiers.calibration import Fused, sigmoid
from mutx_guardrail.layer import Signal
from mutx_guardrail.verdict import CheckName, Layer


@dataclass(frozen=True, slots=True)
class Fusion:
    """Joins the signals of layers 1 and 2, by check; `CLASSIFIER` stands for both, with the findings of both."""

    weights: Mapping[str, Fused]

    def fuse(self, check: CheckName, patterns: Signal | None, classifier: Signal | None) -> Signal:
        """Return the joint signal; of one that is switched off, the other as it is.

        Raises:
            ValueError: both are switched off: there is nothing to say.
            KeyError: the check is none that both layers judge.
        """
        if patterns is None or classifier is None:
            alone = patterns or classifier
            if alone is None:
                raise ValueError(f"no layer judged {check}")
            return alone
        fused = self.weights[check]
        raised = fused.classifier * _logit(classifier.score) + fused.patterns * patterns.score + fused.offset
        return Signal(Layer.CLASSIFIER, sigmoid(raised), patterns.findings + classifier.findings)

    def threshold(self, check: CheckName) -> float:
        """Return the joint likelihood from which a text is held for an attack, unless a policy says another."""
        return self.weights[check].threshold


def _logit(score: float) -> float:
    bounded = min(max(score, 1e-6), 1 - 1e-6)
    return math.log(bounded / (1 - bounded))
