"""Whether what an agent writes of late is far from what it is there for: told, never a reason to refuse.

The distance is the cosine distance (0 to 1, negative similarity counts as 1) of the mean of its last outputs (decayed:
half of it is of the last two) from the sum of two directions of equal weight: the declared purpose, which stays, and
the slow centroid of what it used to write, which follows. Where no purpose is declared the centroid stands alone.

Single outputs are no measure: of MiniLM's embeddings of short answers that fit their purpose, 19 to 69 % were past 0.75
by themselves. Their means were past 0.65 in 0 to 4 %, and those of unrelated texts in every case within ten outputs
(three agents of ten sentences each, half of them for the warm-up, against 150 texts of others: a small sample).

While the threshold is passed the centroid learns at a tenth of its weight, so a run goes on being told.
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
RECENT = 0.3
"""The weight of a new output in the mean of the last ones."""
LEARNED, LEARNED_PAST = 0.02, 0.002
"""Its weight in the slow centroid after the warm-up; half of that is of the last 34."""
KEPT_S = 30 * 86_400
_HEAD = struct.Struct("<I")


class NoDirection(ValueError):  # noqa: N818 - what the embedding has
    """The embedding is all zero, as that of an empty text, or holds what is no number."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the last outputs are from what is expected; `is_warm`: whether that can be held against the agent."""

    distance: float
    is_warm: bool

    def exceeds(self, threshold: float) -> bool:
        """Say whether it is to be told."""
        return self.is_warm and self.distance > threshold


def measure_drift(
    store: Store, agent: str, embedding: Embedding, purpose: Embedding | None, threshold: float
) -> Drift:
    """Hold an agent's last outputs, this one with them, against its purpose and what it used to write; learn it.

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
        seen, recent, usual = _decode(before, new)
        recent = _mix(recent, new, RECENT)
        expected = [each for each in (anchor, usual if seen else None) if each is not None]
        drift = Drift(_distance(recent, expected), seen >= WARM_UP)
        usual = _mix(usual, new, LEARNED_PAST if drift.exceeds(threshold) else _weight(seen))
        return Change(_encode(seen + 1, recent, usual), KEPT_S, drift)

    return store.change(key_of(Kind.DRIFT, agent), step, is_vital=False)


def _weight(seen: int) -> float:
    """Return how much a new output counts in the slow centroid, which is a plain mean while it warms up."""
    return LEARNED if seen >= WARM_UP else 1 / (seen + 1)


def _mix(old: Embedding, new: Embedding, weight: float) -> Embedding:
    return np.float32(1 - weight) * old + np.float32(weight) * new


def _distance(recent: Embedding, expected: Sequence[Embedding]) -> float:
    """Return the distance from the sum of directions; 0 where nothing is expected, 1 where anything cancels out."""
    if not expected:
        return 0.0
    whole = np.sum([each / max(float(np.linalg.norm(each)), 1e-9) for each in expected], axis=0)
    length = float(np.linalg.norm(recent)) * float(np.linalg.norm(whole))
    similarity = float(recent @ whole) / length if length > 1e-6 else 0.0  # noqa: PLR2004 - rounding errors
    return min(1.0, max(0.0, 1.0 - similarity))


def _unit(vector: Embedding) -> Embedding:
    flat = np.asarray(vector, dtype=np.float32).reshape(-1)
    length = float(np.linalg.norm(flat)) if np.isfinite(flat).all() else 0.0
    if not 0.0 < length < float("inf"):
        raise NoDirection("the embedding has no direction")
    return flat / np.float32(length)


def _encode(seen: int, recent: Embedding, usual: Embedding) -> bytes:
    return _HEAD.pack(min(seen, 2**32 - 1)) + np.concatenate([recent, usual]).astype("<f2").tobytes()


def _decode(state: bytes | None, new: Embedding) -> tuple[int, Embedding, Embedding]:
    """Return how many were seen, the mean of the last, and the slow centroid.

    Both are the new output where there is nothing; another model's, of another length, are forgotten.
    """
    if state is None or len(state) != _HEAD.size + 4 * new.size:
        return 0, new, new
    (seen,) = _HEAD.unpack_from(state)
    recent, usual = np.frombuffer(state, dtype="<f2", offset=_HEAD.size).astype(np.float32).reshape(2, -1)
    return int(seen), recent, usual
