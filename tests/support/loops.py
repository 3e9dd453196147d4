"""An event loop that stays: Pulumi's objects keep to the first that they met; others' `asyncio.run` takes it away."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache


@contextmanager
def pulumi_event_loop() -> Iterator[None]:
    """Give the thread the one loop of all of Pulumi's tests for the block."""
    asyncio.set_event_loop(_loop())
    try:
        yield
    finally:
        asyncio.set_event_loop(None)


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop
