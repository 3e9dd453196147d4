"""Whether an output is much longer than the agent's normal one.

Normal is the median of its last outputs, 101 of them (or the warm-up's number where that is more). The median of a
constant is that constant, so the threshold is exact: with a factor of 10 and a normal of 100 tokens, 1000 pass and
1001 are flagged. Until the warm-up is over nothing is flagged.

An output is learned as at most twice the normal, so whoever wants to drag the normal up needs 51 outputs for each
doubling, and one enormous output moves it as little as a long one. Empty outputs are not learned.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from statistics import median

from mutx_guardrail.anomaly.agent import Kind, key_of
from mutx_guardrail.anomaly.store import Change, Store
from mutx_guardrail.policy import Anomaly as Limits

WINDOW = 101
LEARNED_FACTOR = 2
KEPT_S = 30 * 86_400
"""How long the normal of an agent is remembered that says nothing."""
_LARGEST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Measured:
    """An output against the normal, both in tokens. `normal` is 0 while the agent warms up."""

    tokens: int
    normal: float
    seen: int

    @property
    def ratio(self) -> float:
        """How many times the normal; 0 while that is not known."""
        return self.tokens / self.normal if self.normal else 0.0

    def exceeds(self, factor: float) -> bool:
        """Say whether it is more than `factor` times the normal."""
        return self.ratio > factor


def measure_output(store: Store, agent: str, tokens: int, limits: Limits) -> Measured:
    """Hold an output's length against the agent's normal one, and learn it.

    Raises:
        ValueError: the number of tokens is negative.
        StoreUnavailable: it was neither measured nor learned.
    """
    if tokens < 0:
        raise ValueError("an output has no fewer than 0 tokens")

    def step(before: bytes | None, _now: int) -> Change[Measured]:
        lengths = _decode(before)
        normal = float(median(lengths)) if len(lengths) >= limits.output_warm_up else 0.0
        measured = Measured(tokens, normal, len(lengths))
        return Change(_learn(lengths, measured, max(WINDOW, limits.output_warm_up)), KEPT_S, measured)

    return store.change(key_of(Kind.LENGTH, agent), step, is_vital=False)


def _learn(lengths: array[int], measured: Measured, window: int) -> bytes | None:
    if measured.tokens:
        bound = int(LEARNED_FACTOR * measured.normal) or _LARGEST
        lengths.append(min(measured.tokens, bound, _LARGEST))
    return lengths[-window:].tobytes() or None


def _decode(state: bytes | None) -> array[int]:
    """Return what was learned; what is not of this form is forgotten."""
    lengths = array("I")
    if state is not None and len(state) % lengths.itemsize == 0:
        lengths.frombytes(state)
    return lengths
