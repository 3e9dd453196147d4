"""Of spans that overlap, which stay."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from mutx_guardrail.pii.rule import Candidate

# What a character more is worth in confidence: a street of 30 characters outweighs a surer number within it.
_PER_CHARACTER: Final = 0.01
_MOST_FOR_LENGTH: Final = 0.3
_LIKELY: Final = 0.5


def merge(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Return spans that do not overlap, from left to right.

    The heavier (confidence, and a little for length) of two stays. Where a likely one (0.5 and above) sticks out of it,
    the heavier takes in the whole of both, so that nothing that either saw is left in the open. Costs n log n.
    """
    kept: list[Candidate] = []
    for group in _clusters(sorted(candidates, key=lambda c: (c.start, -c.end))):
        kept.extend(_resolve(group))
    return tuple(kept)


def _clusters(ordered: Sequence[Candidate]) -> Iterable[list[Candidate]]:
    """Return runs of spans of which each overlaps one before it."""
    cluster: list[Candidate] = []
    reach = -1
    for candidate in ordered:
        if cluster and candidate.start >= reach:
            yield cluster
            cluster = []
        cluster.append(candidate)
        reach = max(reach, candidate.end)
    if cluster:
        yield cluster


def _resolve(cluster: list[Candidate]) -> list[Candidate]:
    if len(cluster) == 1:
        return cluster
    kept: list[Candidate] = []
    for candidate in sorted(cluster, key=_weight, reverse=True):
        at = bisect_right(kept, candidate.start, key=lambda c: c.start)
        _take_in(kept, at, candidate)
    return kept


def _take_in(kept: list[Candidate], at: int, candidate: Candidate) -> None:
    """Put a lighter span among the heavier ones: by itself where it is free, else into those that it sticks out of."""
    before = at - 1 if at > 0 and kept[at - 1].end > candidate.start else None
    after = at
    while after < len(kept) and kept[after].start < candidate.end:
        after += 1
    first = at if before is None else before
    if first == after:
        kept.insert(at, candidate)
    elif candidate.confidence >= _LIKELY:
        kept[first] = replace(kept[first], start=min(kept[first].start, candidate.start))
        for place in range(first, after):
            end = kept[place + 1].start if place + 1 < after else candidate.end
            kept[place] = replace(kept[place], end=max(kept[place].end, end))


def _weight(candidate: Candidate) -> tuple[float, int, str]:
    length = candidate.end - candidate.start
    return (candidate.confidence + min(length * _PER_CHARACTER, _MOST_FOR_LENGTH), length, candidate.rule)
