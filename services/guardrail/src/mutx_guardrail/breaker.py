"""A circuit breaker: a server that fails again and again is left alone for a while, then tried by one request."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Circuit(StrEnum):
    """Where the breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Counts a server's failures. One event loop calls it without a lock; threads hold one.

    Args:
        failures: one after another, until it opens.
        rest_s: how long it stays open.
        clock: seconds that only go forward.
    """

    def __init__(self, failures: int, rest_s: float, clock: Callable[[], float]) -> None:
        self._most, self._rest_s, self._clock = failures, rest_s, clock
        self._failures = 0
        self._opened: float | None = None
        self._is_trying = False

    @property
    def circuit(self) -> Circuit:
        """Where it is now."""
        if self._opened is None:
            return Circuit.CLOSED
        return Circuit.OPEN if self._clock() < self._opened + self._rest_s else Circuit.HALF_OPEN

    def enter(self) -> bool:
        """Say whether a request may go out. Half-open, one alone does, until `succeed`, `fail` or `leave` is called."""
        circuit = self.circuit
        if circuit is not Circuit.HALF_OPEN:
            return circuit is Circuit.CLOSED
        if self._is_trying:
            return False
        self._is_trying = True
        return True

    def succeed(self) -> None:
        """Say that the server answered."""
        self._failures, self._opened, self._is_trying = 0, None, False

    def fail(self) -> None:
        """Say that it did not."""
        self._failures += 1
        if self._opened is not None or self._failures >= self._most:
            self._opened = self._clock()
        self._is_trying = False

    def leave(self) -> None:
        """Say that the request ended before the server's fault or merit was seen."""
        self._is_trying = False
