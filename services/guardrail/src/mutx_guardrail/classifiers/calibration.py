"""From a model's numbers to likelihoods, and where to cut; all of it fixed on validation sources, before any test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Score = Annotated[float, Field(gt=0, lt=1)]


class Thresholds(BaseModel):
    """Where to cut.

    `thresholds` are those of a false positive rate on benign validation texts, named by the rate; `threshold` is used
    unless the policy says another.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Score
    thresholds: Mapping[str, Score]


class Calibration(Thresholds):
    """A text's likelihood is `sigmoid(slope * highest window + spread * log(windows) + offset)`."""

    slope: float
    spread: float
    offset: float

    def likelihood(self, highest: float, windows: int) -> float:
        """Return how likely a text is what is looked for, by its highest window and how many it has."""
        return sigmoid(self.slope * highest + self.spread * math.log(max(windows, 1)) + self.offset)


class Fused(Thresholds):
    """With patterns it is `sigmoid(classifier * log odds of the classifier + patterns * patterns' score + offset)`."""

    classifier: Annotated[float, Field(ge=0)]
    patterns: Annotated[float, Field(ge=0)]
    offset: float


def sigmoid(raised: float) -> float:
    """Return the likelihood of log odds."""
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, raised))))
