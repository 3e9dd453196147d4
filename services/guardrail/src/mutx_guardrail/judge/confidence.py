"""From what a model says to a likelihood: by the logarithmic probabilities of its tokens where it gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mutx_guardrail.judge.answer import Token

SURE = 0.95
"""How likely a thing is that the model says outright, where it gives no probabilities."""

_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt's scaling of a likelihood: the logit times `slope` plus `intercept`. The default changes nothing.

    The two are fitted on labelled texts with the model that is used; none comes with this package.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, likelihood: float) -> float:
        """Return the calibrated likelihood, 0 to 1."""
        held = min(1 - _EDGE, max(_EDGE, likelihood))
        logit = self.slope * math.log(held / (1 - held)) + self.intercept
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, logit))))


def label_likelihoods(
    tokens: Sequence[Token], start: int, labels: Sequence[str]
) -> Mapping[str, float] | None:
    """Return how likely each label was at the place where one begins; they add up to 1.

    A label is split into tokens in any way; the first that tells the labels apart decides, so no label may begin with
    another.

    Args:
        tokens: the answer's, with their alternatives.
        start: where the label begins in the tokens put together.
        labels: what could stand there.

    Returns:
        None where the tokens do not say (none were given, or they fit no label).
    """
    at = 0
    for token in tokens:
        if at <= start < at + len(token.text):
            return _shares(token, start - at, labels)
        at += len(token.text)
    return None


def _shares(token: Token, before: int, labels: Sequence[str]) -> Mapping[str, float] | None:
    """Sum up the alternatives by label. What stands before the label within the token is common to them."""
    shares = dict.fromkeys(labels, 0.0)
    for text, logprob in {**token.alternatives, token.text: token.logprob}.items():
        rest = text[before:] if text[:before] == token.text[:before] else text.lstrip()
        fitting = [label for label in labels if rest and (label.startswith(rest) or rest.startswith(label))]
        if len(fitting) == 1:
            shares[fitting[0]] += math.exp(min(0.0, logprob))
    whole = sum(shares.values())
    return {label: share / whole for label, share in shares.items()} if whole > 0 else None
