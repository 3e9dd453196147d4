"""Until when a thread may work on a text: whoever is too late stops, instead of keeping others from being judged.

A thread cannot be ended from outside. What may take long on a long text asks `check_time` between its steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_END: ContextVar[float] = ContextVar("end", default=math.inf)


class TooLate(Exception):  # noqa: N818 - what happened, told as one
    """The time is over, and nobody waits for the answer."""


@contextmanager
def working_until(end: float) -> Iterator[None]:
    """Let the block work until `time.monotonic()` is `end`.

    Raises:
        TooLate: it is over already.
    """
    held = _END.set(end)
    try:
        check_time()
        yield
    finally:
        _END.reset(held)


def check_time() -> None:
    """Go on, where there is time left; outside of `working_until` there always is.

    Raises:
        TooLate: there is none.
    """
    if time.monotonic() >= _END.get():
        raise TooLate
