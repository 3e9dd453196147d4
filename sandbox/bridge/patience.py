"""How long an operation may wait, and when it must stop: deadline, cancellation, or a caller that has gone."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

_LONGEST_NAP_S = 0.25


class StoppedError(Exception):
    """The operation was cancelled, or its caller has gone."""


@dataclass(slots=True)
class Patience:
    """A deadline that can be slept against.

    Attributes:
        seconds: how long to keep trying, from now.
        cancelled: set when the engine cancels this connection's work.
        gone: says whether the caller has hung up.
        rng: source of jitter.
    """

    seconds: float
    cancelled: Event = field(default_factory=Event)
    gone: Callable[[], bool] = lambda: False
    rng: random.Random = field(default_factory=random.Random)
    _end: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    @property
    def left_s(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._end - time.monotonic())

    def nap(self, attempt: int, *, base_s: float = 0.05, cap_s: float = 5.0) -> bool:
        """Sleep with exponential backoff and full jitter; False when the deadline would pass.

        Raises:
            StoppedError: cancelled, or the caller hung up, while asleep.
        """
        ceiling = min(cap_s, base_s * 2.0**attempt)
        return self.pause(self.rng.uniform(base_s / 2, ceiling))

    def pause(self, seconds: float) -> bool:
        """Sleep so long; False when the deadline would pass.

        Raises:
            StoppedError: cancelled, or the caller hung up, while asleep.
        """
        if seconds > self.left_s:
            return False
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            if self.cancelled.wait(min(rest, _LONGEST_NAP_S)) or self.gone():
                raise StoppedError("the operation was cancelled while waiting")
        return True
