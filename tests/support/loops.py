"""An event loop of one's own, for what takes the thread's and does not close it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_event_loop() -> Iterator[None]:
    """Give the thread a loop for the block. Pulumi's tests take it; others' `asyncio.run` leaves the thread none."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()
