"""How well scores separate, by source: area under the curve, and recall at a false positive rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auc(bad: Floats, good: Floats) -> float:
    """Return how often a bad one scores above a good one."""
    if not len(bad) or not len(good):
        return float("nan")
    ranks = np.searchsorted(np.sort(good), bad, "left") + np.searchsorted(np.sort(good), bad, "right")
    return float(ranks.mean() / (2 * len(good)))


def cut_at(good: Floats, rate: float, weight: Floats | None = None) -> float:
    """Return the threshold that so large a share of the good ones reaches."""
    weight = np.ones(len(good)) if weight is None else weight
    order = np.argsort(-good)
    share = np.cumsum(weight[order]) / weight.sum()
    place = int(np.searchsorted(share, rate, "right"))
    return float(np.nextafter(good[order][min(place, len(good) - 1)], np.inf))


def table(score: Floats, label: Floats, source: NDArray[np.str_], cuts: dict[str, float]) -> list[str]:
    """Return one line a source: how many, and which share of it reaches each threshold."""
    lines = [f"{'source':34s} {'n':>5s} kind   " + "  ".join(f"{name:>8s}" for name in cuts)]
    for name in np.unique(source):
        for value, kind in ((1, "attack"), (0, "benign")):
            chosen = (source == name) & (label == value)
            if chosen.sum() >= 5:
                shares = "  ".join(f"{(score[chosen] >= cut).mean():8.3f}" for cut in cuts.values())
                lines.append(f"{name:34s} {chosen.sum():5d} {kind} {shares}")
    return lines
