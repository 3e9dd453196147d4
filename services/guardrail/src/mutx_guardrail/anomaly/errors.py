"""Whether an agent fails so often that it is paused, and how it comes back.

An error is what its caller reports as one (`ok=False`): a response of the agent's of 500 to 599, a time-out, a
connection that broke, or a run that ended refused. More than the given fraction of at least the given number within
the window pauses: with 50 %, 50 of 100 do not and 51 do.

Paused, no request passes. When the time is over one does, the probe; its success ends the pause with a clean slate, its
failure begins another. A probe that never came to the agent is given back, and the next request is one. A probe that
nobody reports on makes room for the next after the length of a pause. Reports that
arrive while the agent is paused belong to requests from before, and count for nothing; the first that arrives while the
probe runs is taken for its own.

A person may hold an agent: then nothing passes, and no time ends it, until the agent is resumed by hand.

The window is told in slices of a sixtieth: a slice leaves as a whole when its begin is a window away.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum

from mutx_guardrail.anomaly.agent import Kind, key_of
from mutx_guardrail.anomaly.store import MICROSECONDS, Change, Step, Store, StoreUnavailable
from mutx_guardrail.policy import Anomaly as Limits

SLICES = 60
PAUSE_KEPT_S = 30 * 86_400
"""A pause that nobody asks about for so long after it could have ended is forgotten."""
HOLD_KEPT_S = 10 * 365 * 86_400
_HEAD, _SLICE = struct.Struct("<Bq"), struct.Struct("<qII")


class Phase(IntEnum):
    """Where an agent is."""

    RUNNING = 0
    PAUSED = 1
    PROBING = 2
    HELD = 3


class Move(IntEnum):
    """What a request or a report led to."""

    NONE = 0
    PAUSED = 1
    PROBE = 2
    RESUMED = 3
    HELD = 4


@dataclass(frozen=True, slots=True)
class AgentState:
    """An agent as it stands.

    Args:
        requests: how many the window has seen reported, and `errors` of them failed; 0 unless it runs.
        wait_s: for how long no request passes, at least; 0 where one does.
    """

    phase: Phase
    requests: int = 0
    errors: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """The state after a step, and what moved it.

    Args:
        probe: of the move `PROBE` alone: names the probe to `give_back`.
    """

    state: AgentState
    move: Move = Move.NONE
    probe: int = 0


def may_run(store: Store, agent: str, limits: Limits) -> AgentState:
    """Return how an agent stands, and change nothing; `wait_s` of 0 says that `enter` may be asked."""
    return _change(store, agent, lambda before, now: _looked(before, now, limits)).state


def enter(store: Store, agent: str, limits: Limits) -> Told:
    """Let a request in, or not (`wait_s`): of those that come after a pause, one alone."""
    return _change(store, agent, lambda before, now: _entered(before, now, limits))


def give_back(store: Store, agent: str, limits: Limits, probe: int) -> None:
    """Have the next request be the probe, for this one never ran; nothing, where it is not the probe any more."""

    def step(before: bytes | None, now: int) -> Change[Told]:
        record = _decode(before, now, limits)
        if record.phase is not Phase.PROBING or record.since != probe:
            return Change(before, _ttl_s(record, limits), Told(record.told(now, limits)))
        over = _Record(Phase.PAUSED, now - limits.pause_s * MICROSECONDS)
        return Change(over.encode(), _ttl_s(over, limits), Told(over.told(now, limits)))

    _change(store, agent, step)


def report(store: Store, agent: str, limits: Limits, *, ok: bool) -> Told:
    """Count how a request ended."""
    return _change(store, agent, lambda before, now: _reported(before, now, limits, ok=ok))


def hold(store: Store, agent: str, limits: Limits) -> Told:
    """Let no request pass until `resume`; what was known of its errors is forgotten."""

    def step(_before: bytes | None, now: int) -> Change[Told]:
        held = _Record(Phase.HELD, now)
        return Change(held.encode(), _ttl_s(held, limits), Told(held.told(now, limits), Move.HELD))

    return _change(store, agent, step)


def resume(store: Store, agent: str) -> None:
    """End a pause by hand, with a clean slate."""
    _change(
        store, agent, lambda _before, _now: Change(None, 0, Told(AgentState(Phase.RUNNING), Move.RESUMED))
    )


def _change(store: Store, agent: str, step: Step[Told]) -> Told:
    return store.change(key_of(Kind.ERRORS, agent), step, is_vital=True)


@dataclass(frozen=True, slots=True)
class _Record:
    """What is kept: `since` is when the pause or the probe began; slices are begin, requests, errors."""

    phase: Phase = Phase.RUNNING
    since: int = 0
    slices: tuple[tuple[int, int, int], ...] = ()

    def encode(self) -> bytes:
        return _HEAD.pack(self.phase, self.since) + b"".join(_SLICE.pack(*each) for each in self.slices)

    def counts(self) -> tuple[int, int]:
        return sum(each[1] for each in self.slices), sum(each[2] for each in self.slices)

    def told(self, now: int, limits: Limits) -> AgentState:
        if self.phase is Phase.HELD:
            return AgentState(self.phase, wait_s=float(limits.pause_s))
        wait = 0 if self.phase is Phase.RUNNING else self.since + limits.pause_s * MICROSECONDS - now
        return AgentState(self.phase, *self.counts(), wait_s=max(0, wait) / MICROSECONDS)


def _decode(state: bytes | None, now: int, limits: Limits) -> _Record:
    """Return the record as of now: slices that are over gone, and nothing later than a clock that was set back."""
    if state is None:
        return _Record()
    oldest = now - limits.error_window_s * MICROSECONDS
    try:
        phase, since = _HEAD.unpack_from(state)
        slices = tuple(
            (min(begin, now), requests, errors)
            for begin, requests, errors in _SLICE.iter_unpack(state[_HEAD.size :])
            if begin > oldest
        )
        return _Record(Phase(phase), min(since, now), slices)
    except (struct.error, ValueError):
        raise StoreUnavailable("the agent's state cannot be read: resume it by hand") from None


def _looked(before: bytes | None, now: int, limits: Limits) -> Change[Told]:
    record = _decode(before, now, limits)
    # A clock that was set back is written down, or the pause would begin anew with each look.
    moved = before is not None and record.since < _HEAD.unpack_from(before)[1]
    told = Told(record.told(now, limits))
    return Change(record.encode() if moved else before, _ttl_s(record, limits), told)


def _entered(before: bytes | None, now: int, limits: Limits) -> Change[Told]:
    record = _decode(before, now, limits)
    state = record.told(now, limits)
    if state.phase is Phase.RUNNING or state.wait_s:
        return Change(before, _ttl_s(record, limits), Told(state))
    probing = _Record(Phase.PROBING, now)
    told = Told(AgentState(Phase.PROBING), Move.PROBE, probe=now)
    return Change(probing.encode(), _ttl_s(probing, limits), told)


def _reported(before: bytes | None, now: int, limits: Limits, *, ok: bool) -> Change[Told]:
    record = _decode(before, now, limits)
    if record.phase in {Phase.PAUSED, Phase.HELD}:
        return Change(before, _ttl_s(record, limits), Told(record.told(now, limits)))
    if record.phase is Phase.PROBING:
        return Change(None, 0, Told(AgentState(Phase.RUNNING), Move.RESUMED)) if ok else _paused(now, limits)
    counted = replace(record, slices=_count(record.slices, now, limits, ok=ok))
    requests, errors = counted.counts()
    if requests >= limits.error_minimum and errors / requests > limits.error_fraction:
        return _paused(now, limits, requests, errors)
    return Change(counted.encode(), _ttl_s(counted, limits), Told(counted.told(now, limits)))


def _paused(now: int, limits: Limits, requests: int = 0, errors: int = 0) -> Change[Told]:
    """Return a pause that begins now, told with the counts that led to it."""
    paused = _Record(Phase.PAUSED, now)
    state = AgentState(Phase.PAUSED, requests, errors, wait_s=float(limits.pause_s))
    return Change(paused.encode(), _ttl_s(paused, limits), Told(state, Move.PAUSED))


def _count(
    slices: tuple[tuple[int, int, int], ...], now: int, limits: Limits, *, ok: bool
) -> tuple[tuple[int, int, int], ...]:
    width = limits.error_window_s * MICROSECONDS // SLICES
    if slices and now - slices[-1][0] < width:
        begin, requests, errors = slices[-1]
        return (*slices[:-1], (begin, requests + 1, errors + (not ok)))
    return (*slices, (now, 1, int(not ok)))


def _ttl_s(record: _Record, limits: Limits) -> int:
    if record.phase is Phase.HELD:
        return HOLD_KEPT_S
    return limits.error_window_s + 1 if record.phase is Phase.RUNNING else limits.pause_s + PAUSE_KEPT_S
