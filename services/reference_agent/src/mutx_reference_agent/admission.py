"""How many runs at once, for how long, and what becomes of them when the agent is paused or stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mutx_service.problem import Problem

from mutx_reference_agent.pause import PauseSwitch
from mutx_reference_agent.settings import Limits


class Slot:
    """One admitted run. `release` gives it back; more than once does no harm."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def release(self) -> None:
        """Let another run in."""
        self._admission.forget(self)

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Run the body within the run's time, which a stop of the agent may shorten.

        Raises:
            Problem: `run-timeout`, or `agent-stopping` where the stop was the reason.
        """
        timeout = asyncio.timeout(None)
        try:
            async with timeout, self._admission.timed(timeout):
                yield
        except TimeoutError:
            if timeout.expired():
                raise Problem("agent-stopping" if self._admission.is_stopping else "run-timeout") from None
            raise


class Admission:
    """Decides whether a run may begin; used from one event loop only."""

    def __init__(self, limits: Limits, pause: PauseSwitch) -> None:
        self._limits, self._pause = limits, pause
        self._slots: set[Slot] = set()
        self._timeouts: set[asyncio.Timeout] = set()
        self._stop_at: float | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop_at is not None

    @property
    def running(self) -> int:
        """How many runs hold a slot."""
        return len(self._slots)

    def refuse_if_closed(self) -> None:
        """Refuse before a body is even read.

        Raises:
            Problem: `agent-stopping`, `agent-paused` or `agent-busy`.
        """
        if self.is_stopping:
            raise Problem("agent-stopping")
        if self._pause.is_paused():
            raise Problem("agent-paused")
        if len(self._slots) >= self._limits.max_runs:
            raise Problem("agent-busy")

    def admit(self) -> Slot:
        """Take a slot for a run; it raises what `refuse_if_closed` does."""
        self.refuse_if_closed()
        slot = Slot(self)
        self._slots.add(slot)
        return slot

    def stop(self) -> None:
        """Take no more runs, and give the running ones `stop_s` seconds at most."""
        loop = asyncio.get_running_loop()
        if self._stop_at is None:
            self._stop_at = loop.time() + self._limits.stop_s
        for timeout in self._timeouts:
            self._bound(timeout)

    def forget(self, slot: Slot) -> None:
        """Give a slot back."""
        self._slots.discard(slot)

    @asynccontextmanager
    async def timed(self, timeout: asyncio.Timeout) -> AsyncIterator[None]:
        """Start a run's time, and shorten it with the others when the agent is stopped meanwhile."""
        now = asyncio.get_running_loop().time()
        timeout.reschedule(now + self._limits.run_s)
        self._timeouts.add(timeout)
        self._bound(timeout)
        try:
            yield
        finally:
            self._timeouts.discard(timeout)

    def _bound(self, timeout: asyncio.Timeout) -> None:
        ends = timeout.when()
        if self._stop_at is not None and ends is not None and not timeout.expired():
            timeout.reschedule(min(self._stop_at, ends))
