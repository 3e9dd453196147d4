"""Watches agents: whether one may be asked now, and what its answers say of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from mutx_guardrail.anomaly import drift, errors, length, rate
from mutx_guardrail.anomaly.agent import Kind, key_of
from mutx_guardrail.anomaly.drift import Embedding, NoDirection
from mutx_guardrail.anomaly.errors import AgentState, Move, Phase
from mutx_guardrail.anomaly.event import Event, EventKind, Sink
from mutx_guardrail.anomaly.store import Change, Store, StoreUnavailable
from mutx_guardrail.policy import Anomaly as Limits
from mutx_guardrail.verdict import Action, Check, CheckName, Layer, Reason


@dataclass(frozen=True, slots=True)
class Probe(Check):
    """The check of a request that was let in alone, after a pause; `began` names it to `Anomaly.give_back`."""

    began: int = 0


class Anomaly:
    """The checks of agents' behaviour. Safe to call from several threads.

    A call on Redis takes some tenths of a millisecond and, when that hangs, up to the store's time-out: an event loop
    calls it in a thread (`asyncio.to_thread`). On memory it takes microseconds and waits for nothing.

    Args:
        store: shared by the replicas, or the process's own.
        sink: gets every event.
        clock: seconds since 1970, for the events alone.
    """

    def __init__(self, store: Store, sink: Sink, clock: Callable[[], float] = time.time) -> None:
        self._store, self._sink, self._clock = store, sink, clock
        self._lost = threading.Event()

    def admit(self, agent: str, limits: Limits) -> Check:
        """Say whether a request to an agent may go on: it is not paused, and asked no more often than allowed.

        A request that is refused takes no place in the rate's window. The first refusal of a window is told as an
        event, not every one. A `Probe` that does not come to the agent is to be given back.

        Raises:
            ValueError: that is no agent's name.
        """
        return self._watched(CheckName.RATE_LIMIT, lambda: self._admitted(agent, limits))

    def give_back(self, agent: str, admitted: Check, limits: Limits) -> None:
        """Have another request be the probe, where this one was and nothing was learned of the agent by it.

        Where the store cannot be asked, the next probe waits for the length of a pause, as after one that is not told.
        """
        if isinstance(admitted, Probe):
            with suppress(StoreUnavailable):
                errors.give_back(self._store, agent, limits, admitted.began)

    def standing(self, agent: str, limits: Limits) -> Check:
        """Say whether an agent is paused, for a text that is no request of its own: a tool's result, a page.

        Raises:
            ValueError: that is no agent's name.
        """

        def looked() -> Check:
            state = errors.may_run(self._store, agent, limits)
            return _pausing(state) if state.wait_s else Check(CheckName.ERROR_RATE, passed=True)

        return self._watched(CheckName.ERROR_RATE, looked)

    def observe(
        self,
        agent: str,
        tokens: int,
        limits: Limits,
        *,
        ok: bool,
        embedding: Embedding | None = None,
        purpose: Embedding | None = None,
    ) -> tuple[Check, ...]:
        """Learn how a request ended, and say what its answer says of the agent.

        Args:
            agent: its name.
            tokens: of the output, 0 where there is none.
            limits: what is normal.
            ok: False for what `errors` calls an error.
            embedding: of the output, all zero where that is empty; without one no drift is measured.
            purpose: the embedding of what the agent is declared to be there for.

        Raises:
            ValueError: that is no agent's name, or no number of tokens.
        """
        checks = [
            self._watched(CheckName.ERROR_RATE, lambda: self._reported(agent, limits, ok=ok)),
            self._watched(CheckName.OUTPUT_LENGTH, lambda: self._measured(agent, tokens, limits)),
        ]
        if embedding is not None:
            checks.append(
                self._watched(
                    CheckName.INTENT_DRIFT, lambda: self._drifted(agent, embedding, purpose, limits)
                )
            )
        return tuple(checks)

    def state(self, agent: str, limits: Limits) -> AgentState:
        """Return how an agent stands.

        Raises:
            ValueError: that is no agent's name.
            StoreUnavailable: it is not known.
        """
        return errors.may_run(self._store, agent, limits)

    def hold(self, agent: str, limits: Limits) -> None:
        """Let nothing pass to an agent until it is resumed by hand.

        Raises:
            ValueError: that is no agent's name.
            StoreUnavailable: it may pass still.
        """
        errors.hold(self._store, agent, limits)
        self._tell(EventKind.HELD, agent)

    def resume(self, agent: str) -> None:
        """End an agent's pause by hand; its errors so far are forgotten.

        Raises:
            ValueError: that is no agent's name.
            StoreUnavailable: it may be paused still.
        """
        errors.resume(self._store, agent)
        self._tell(EventKind.RESUMED, agent, by_hand=1)

    def _admitted(self, agent: str, limits: Limits) -> Check:
        state = errors.may_run(self._store, agent, limits)
        if state.wait_s:
            return _pausing(state)
        wait_s = rate.take_request(self._store, agent, limits)
        if wait_s:
            return self._limited(agent, limits, wait_s)
        if state.phase is Phase.RUNNING:
            return Check(CheckName.RATE_LIMIT, passed=True)
        # The pause is over: of all that come now, one is the probe.
        told = errors.enter(self._store, agent, limits)
        if told.state.wait_s:
            return _pausing(told.state)
        if told.move is not Move.PROBE:
            return Check(CheckName.RATE_LIMIT, passed=True)
        self._tell(EventKind.PROBED, agent)
        return Probe(CheckName.RATE_LIMIT, passed=True, began=told.probe)

    def _limited(self, agent: str, limits: Limits, wait_s: float) -> Check:
        if self._is_first(agent, limits.window_s):
            self._tell(EventKind.RATE_LIMITED, agent, requests=limits.requests, window_s=limits.window_s)
        return Check(
            CheckName.RATE_LIMIT,
            passed=False,
            action=Action.RATE_LIMIT,
            reason=Reason.RATE_LIMIT,
            details=f"over {limits.requests} requests within {limits.window_s} s; the next passes in {wait_s:.3f} s",
            decided_by=Layer.ANOMALY,
            wait_s=wait_s,
        )

    def _reported(self, agent: str, limits: Limits, *, ok: bool) -> Check:
        told = errors.report(self._store, agent, limits, ok=ok)
        if told.move is Move.RESUMED:
            self._tell(EventKind.RESUMED, agent, by_hand=0)
        if told.move is not Move.PAUSED:
            return Check(CheckName.ERROR_RATE, passed=True)
        state = told.state
        self._tell(
            EventKind.PAUSED, agent, requests=state.requests, errors=state.errors, pause_s=limits.pause_s
        )
        return _pausing(state)

    def _measured(self, agent: str, tokens: int, limits: Limits) -> Check:
        measured = length.measure_output(self._store, agent, tokens, limits)
        if not measured.normal:
            # Nothing is known yet: neither is sure.
            return Check(
                CheckName.OUTPUT_LENGTH, passed=True, score=0.5, details="the normal is not known yet"
            )
        if not measured.exceeds(limits.output_factor):
            return Check(CheckName.OUTPUT_LENGTH, passed=True)
        self._tell(EventKind.LONG_OUTPUT, agent, tokens=tokens, normal=measured.normal, ratio=measured.ratio)
        return Check(
            CheckName.OUTPUT_LENGTH,
            passed=False,
            action=Action.FLAG,
            details=f"{tokens} tokens are {measured.ratio:.1f} times the normal {measured.normal:g}",
            decided_by=Layer.ANOMALY,
        )

    def _drifted(self, agent: str, embedding: Embedding, purpose: Embedding | None, limits: Limits) -> Check:
        if not embedding.any():
            return Check(CheckName.INTENT_DRIFT, passed=True, details="nothing was written")
        try:
            measured = drift.measure_drift(self._store, agent, embedding, purpose, limits.drift_threshold)
        except NoDirection as error:
            return _unavailable(CheckName.INTENT_DRIFT, str(error))
        if not measured.exceeds(limits.drift_threshold):
            return Check(CheckName.INTENT_DRIFT, passed=True, score=measured.distance)
        self._tell(EventKind.DRIFTED, agent, distance=measured.distance, threshold=limits.drift_threshold)
        return Check(
            CheckName.INTENT_DRIFT,
            passed=False,
            score=measured.distance,
            action=Action.FLAG,
            details=f"the last outputs are {measured.distance:.2f} from purpose and custom",
            decided_by=Layer.ANOMALY,
        )

    def _is_first(self, agent: str, window_s: int) -> bool:
        """Say whether nothing was told of this agent's rate within the window."""

        def step(before: bytes | None, _now: int) -> Change[bool]:
            return Change(b"1", window_s, before is None)

        return self._store.change(key_of(Kind.TOLD, agent), step, is_vital=False)

    def _watched(self, name: CheckName, check: Callable[[], Check]) -> Check:
        try:
            outcome = check()
        except StoreUnavailable as error:
            if not self._lost.is_set():
                self._lost.set()
                self._tell(EventKind.STORE_LOST)
            return _unavailable(name, error.why)
        if self._lost.is_set():
            self._lost.clear()
            self._tell(EventKind.STORE_BACK)
        return outcome

    def _tell(self, kind: EventKind, agent: str = "", **numbers: float) -> None:
        self._sink(Event(self._clock(), kind, agent, numbers))


def _pausing(state: AgentState) -> Check:
    counts = f"{state.errors} of {state.requests} requests failed; " if state.requests else ""
    is_held = state.phase is Phase.HELD
    told = (
        "held until it is resumed by hand" if is_held else f"{counts}paused for another {state.wait_s:.3f} s"
    )
    return Check(
        CheckName.ERROR_RATE,
        passed=False,
        action=Action.PAUSE,
        reason=Reason.AGENT_PAUSED,
        details=told,
        decided_by=Layer.ANOMALY,
        wait_s=0.0 if is_held else state.wait_s,
    )


def _unavailable(name: CheckName, why: str) -> Check:
    return Check(name, passed=False, details=why, decided_by=Layer.ANOMALY, unavailable=(Layer.ANOMALY,))
