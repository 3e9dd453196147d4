"""Whether what an agent writes is far from what it is there for: told, never a reason to refuse.

The distance is the cosine distance (0 to 1, negative similarity counts as 1) of an output's embedding from the sum of
two directions of equal weight: the declared purpose, which stays, and the decayed centroid of what the agent wrote
lately, which follows. Where no purpose is declared the centroid stands alone, after the warm-up.

An output past the threshold is learned at a tenth of the weight, so a run of them goes on being told.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mutx_guardrail.anomaly.agent import Kind, key_of
from mutx_guardrail.anomaly.store import Change, Store

Embedding: TypeAlias = NDArray[np.float32]

WARM_UP = 20
"""Outputs before the distance is held against the threshold."""
LEARNED, LEARNED_PAST = 0.05, 0.005
"""The weight of a new output in the centroid; half of what it says is of the last 14."""
KEPT_S = 30 * 86_400
_HEAD = struct.Struct("<I")


class NoDirection(ValueError):  # noqa: N818 - what the embedding has
    """The embedding is all zero, or holds what is no number: nothing can be said of it."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far an output is from what is expected; `is_warm` says whether that can be held against the agent."""

    distance: float
    is_warm: bool

    def exceeds(self, threshold: float) -> bool:
        """Say whether it is to be told."""
        return self.is_warm and self.distance > threshold


def measure_drift(
    store: Store, agent: str, embedding: Embedding, purpose: Embedding | None, threshold: float
) -> Drift:
    """Hold an output against the agent's purpose and recent outputs, and learn it.

    Raises:
        NoDirection: the embedding, or the purpose's, has none.
        ValueError: the two are not equally long.
        StoreUnavailable: it was neither measured nor learned.
    """
    new = _unit(embedding)
    anchor = None if purpose is None else _unit(purpose)
    if anchor is not None and anchor.shape != new.shape:
        raise ValueError("the embeddings of purpose and output are not equally long")

    def step(before: bytes | None, _now: int) -> Change[Drift]:
        seen, centroid = _decode(before, new.size)
        drift = Drift(
            _distance(new, [each for each in (anchor, centroid) if each is not None]), seen >= WARM_UP
        )
        weight = LEARNED_PAST if drift.exceeds(threshold) else max(LEARNED, 1 / (seen + 1))
        learned = new if centroid is None else (1 - weight) * centroid + weight * new
        return Change(_encode(seen + 1, learned), KEPT_S, drift)

    return store.change(key_of(Kind.DRIFT, agent), step, is_vital=False)


def _distance(new: Embedding, expected: Sequence[Embedding]) -> float:
    """Return the distance from the sum of directions; 0 where nothing is expected, 1 where they cancel out."""
    if not expected:
        return 0.0
    whole = np.sum([each / max(float(np.linalg.norm(each)), 1e-9) for each in expected], axis=0)
    length = float(np.linalg.norm(whole))
    similarity = float(new @ whole) / length if length > 1e-6 else 0.0  # noqa: PLR2004 - rounding errors
    return min(1.0, max(0.0, 1.0 - similarity))


def _unit(vector: Embedding) -> Embedding:
    flat = np.asarray(vector, dtype=np.float32).reshape(-1)
    length = float(np.linalg.norm(flat)) if np.isfinite(flat).all() else 0.0
    if not 0.0 < length < float("inf"):
        raise NoDirection("the embedding has no direction")
    return flat / np.float32(length)


def _encode(seen: int, centroid: Embedding) -> bytes:
    return _HEAD.pack(min(seen, 2**32 - 1)) + centroid.astype("<f2").tobytes()


def _decode(state: bytes | None, size: int) -> tuple[int, Embedding | None]:
    """Return how many were seen and their centroid; another model's, of another length, is forgotten."""
    if state is None or len(state) != _HEAD.size + 2 * size:
        return 0, None
    (seen,) = _HEAD.unpack_from(state)
    return int(seen), np.frombuffer(state, dtype="<f2", offset=_HEAD.size).astype(np.float32)
