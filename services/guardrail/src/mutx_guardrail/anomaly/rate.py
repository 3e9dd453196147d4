"""How many requests an agent may make: an exact sliding window.

A request is taken when fewer than `requests` were taken in the `window_s` before it: with 100 in 60 s the 100th passes,
the 101st does not, and exactly 60 s after the first there is room again. A refused request takes no place, so an agent
that keeps asking gets what it is due, and no more.

The package `limits` has such a window, but by the clock of each replica; its memory has no bound and holds an object
and a lock for each request; and a clock set back keeps an agent out for as long as that. So the window is the store's
own operation (`Store.take`).
"""

from __future__ import annotations

from mutx_guardrail.anomaly.agent import Kind, key_of
from mutx_guardrail.anomaly.store import MICROSECONDS, Store
from mutx_guardrail.policy import Anomaly as Limits


def take_request(store: Store, agent: str, limits: Limits) -> float:
    """Count a request in; 0, or for how many seconds no other is taken.

    Raises:
        StoreUnavailable: it was not counted.
    """
    window_us = limits.window_s * MICROSECONDS
    return store.take(key_of(Kind.RATE, agent), limits.requests, window_us) / MICROSECONDS
