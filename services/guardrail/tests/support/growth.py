"""How long work takes, for tests that hold it to the length of what it works on."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def processor_s(work: Callable[[], object], tries: int = 2) -> float:
    """Return the processor's seconds for some work, the least of some tries: noise only adds.

    The collection of garbage is off meanwhile: it looks through all that other tests of the process have left.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return min(_once(work) for _ in range(tries))
    finally:
        if was_on:
            gc.enable()


def _once(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
