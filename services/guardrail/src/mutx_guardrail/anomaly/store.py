"""Where state is kept: two operations, each atomic for its key among all who share the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

MICROSECONDS = 1_000_000


class StoreUnavailable(Exception):  # noqa: N818 - the state of a store, told as one
    """The store cannot answer now. `why` names no agent."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What a step makes of a key: its next state (None: nothing), for how long it is kept, and what the caller hears.

    No state is empty. One equal to that before is not written, and its time to live not renewed.
    """

    state: bytes | None
    ttl_s: int
    told: T


Step = Callable[[bytes | None, int], Change[T]]
"""Makes a change of a key's state and the store's time in microseconds. Pure: it may be called more than once."""


class Store(Protocol):
    """Keeps the state of agents. Safe to call from several threads.

    The time is the store's own, so replicas whose clocks differ agree.
    """

    def take(self, key: str, limit: int, window_us: int) -> int:
        """Take one of `limit` places of the last `window_us`; 0, or for how many microseconds none is free.

        A place is free again exactly `window_us` after it was taken. A refusal takes none.

        Raises:
            StoreUnavailable: no place was taken, or it is not known whether one was.
        """

    def change(self, key: str, step: Step[T], *, is_vital: bool) -> T:
        """Replace what `key` holds by what `step` makes of it.

        Args:
            key: whose state.
            step: may be called again where another changed the key meanwhile.
            is_vital: whether it is worse to forget the key before its time than to refuse a new one.

        Raises:
            StoreUnavailable: nothing was changed, or it is not known whether it was.
        """
