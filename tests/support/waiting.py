"""Waiting for what comes about by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

WITHIN_S = 60.0


def until(is_so: Callable[[], bool], otherwise: str = "it was not so", within_s: float = WITHIN_S) -> float:
    """Wait until something is so; return how many seconds it took, or fail with what is the case otherwise."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < within_s, f"{otherwise} within {within_s} s"
        time.sleep(0.05)
    return time.monotonic() - began
