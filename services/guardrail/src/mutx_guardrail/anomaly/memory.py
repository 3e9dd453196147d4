"""State in the process's memory: the default, for one replica. A restart forgets it.

Keys that have lapsed are removed by the second. A full store forgets what was longest not used, save what is vital
(rate windows, pauses): where all of that is still in force a new key is refused, so nobody can push a pause out.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mutx_guardrail.anomaly.store import MICROSECONDS, Step, StoreUnavailable

T = TypeVar("T")
V = TypeVar("V")

DEFAULT_CAPACITY = 1_000_000
"""Keys of each sort: rate windows, vital states, other states. A rate window of one request takes about 300 bytes."""


def monotonic_us() -> int:
    """Return microseconds of a clock that nobody sets."""
    return time.monotonic_ns() // 1_000


class MemoryStore:
    """A store in memory.

    Args:
        capacity: the most keys of each of three sorts.
        clock: the time in microseconds.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY, clock: Callable[[], int] = monotonic_us) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: _Vital[array[int]] = _Vital(capacity)
        self._vital: _Vital[bytes] = _Vital(capacity)
        self._other: _Recent[bytes] = _Recent(capacity)

    def __len__(self) -> int:
        return len(self._windows) + len(self._vital) + len(self._other)

    def take(self, key: str, limit: int, window_us: int) -> int:
        """Take a place (see `Store`)."""
        with self._lock:
            now = self._clock()
            taken = self._windows.get(key, now) or array("q")
            wait_us = take_place(taken, limit, window_us, now)
            if not wait_us:
                self._windows.put(key, taken, now, now + window_us)
            return wait_us

    def change(self, key: str, step: Step[T], *, is_vital: bool) -> T:
        """Change a state (see `Store`)."""
        shelf: _Shelf[bytes] = self._vital if is_vital else self._other
        with self._lock:
            now = self._clock()
            before = shelf.get(key, now)
            change = step(before, now)
            if change.state is None:
                shelf.remove(key)
            elif change.state != before:
                shelf.put(key, change.state, now, now + change.ttl_s * MICROSECONDS)
            return change.told


def take_place(taken: array[int], limit: int, window_us: int, now: int) -> int:
    """Add now to the times at which places were taken, in order; or return how long none is free, in microseconds."""
    if not taken or taken[-1] <= now - window_us:
        del taken[:]
        taken.append(now)
        return 0
    _set_back(taken, now)
    if len(taken) >= limit and taken[-limit] > now - window_us:
        return taken[-limit] + window_us - now
    taken.append(now)
    if len(taken) > limit + limit // 4:
        del taken[:-limit]
    return 0


def _set_back(taken: array[int], now: int) -> None:
    """Have nothing lie in the future of a clock that was set back: it would hold its place for as long as that."""
    if taken[-1] > now:
        for index, at in enumerate(taken):
            taken[index] = min(at, now)


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    until: int
    due: int = 0


class _Shelf(Protocol[V]):
    """Bounded keys, each with an end."""

    def __len__(self) -> int: ...

    def get(self, key: str, now: int) -> V | None:
        """Return what is there and has not lapsed."""

    def put(self, key: str, value: V, now: int, until: int) -> None:
        """Keep a value until its end."""

    def remove(self, key: str) -> None:
        """Forget a key."""


class _Recent(Generic[V]):
    """A full one forgets what was longest not written."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, _Entry[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, now: int) -> V | None:
        entry = self._entries.get(key)
        return entry.value if entry is not None and entry.until > now else None

    def put(self, key: str, value: V, now: int, until: int) -> None:  # noqa: ARG002 - what lapsed is forgotten in turn
        self._entries[key] = _Entry(value, until)
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def remove(self, key: str) -> None:
        self._entries.pop(key, None)


class _Vital(Generic[V]):
    """A full one takes no new key. Ends are also kept in buckets of a second; a renewed key moves when it is due."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: dict[str, _Entry[V]] = {}
        self._due: dict[int, set[str]] = {}
        self._swept = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, now: int) -> V | None:
        entry = self._entries.get(key)
        return entry.value if entry is not None and entry.until > now else None

    def put(self, key: str, value: V, now: int, until: int) -> None:
        """Keep a value until its end.

        Raises:
            StoreUnavailable: it is a new key, and there is no room.
        """
        self._sweep(now)
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._capacity:
                raise StoreUnavailable("the memory for agents is full")
            self._entries[key] = entry = _Entry(value, until)
            self._mark(key, entry)
        entry.value, entry.until = value, until

    def remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._due[entry.due].discard(key)

    def _mark(self, key: str, entry: _Entry[V]) -> None:
        entry.due = entry.until // MICROSECONDS + 1
        self._due.setdefault(entry.due, set()).add(key)

    def _sweep(self, now: int) -> None:
        """Remove what has lapsed, at most once a second."""
        second = now // MICROSECONDS
        if second == self._swept:
            return
        self._swept = second
        for due in [each for each in self._due if each <= second]:
            for key in self._due.pop(due):
                entry = self._entries[key]
                if entry.until <= now:
                    del self._entries[key]
                else:
                    self._mark(key, entry)
