"""The tenant's record of what leaves (BYOK-4): two lines each, the first before anything has left.

No line holds a text or a key. A line that cannot be written refuses what it is about.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from mutx_service.journal import must_write_event
from mutx_service.problem import Problem

Write = Callable[[str, Mapping[str, object]], None]
"""Writes one event, or raises OSError."""


class Record:
    """One call or tunnel. It is written as begun when it is made.

    Args:
        name: of the event; the first line's is followed by `-started`.
        fields: what both lines say.

    Raises:
        Problem: `not-logged`.
    """

    def __init__(self, name: str, fields: Mapping[str, object], write: Write = must_write_event) -> None:
        self._name, self._fields, self._write = name, dict(fields), write
        self._start = time.monotonic()
        self._is_open = True
        self._line(f"{name}-started", self._fields)

    def end(self, status: int | str, *, bytes_out: int, bytes_in: int) -> None:
        """Write the second line; bytes are those that went out to, and came in from, the provider.

        Raises:
            Problem: `not-logged`.
        """
        if not self._is_open:
            return
        self._is_open = False
        duration_ms = round((time.monotonic() - self._start) * 1000, 1)
        found = {"status": status, "duration_ms": duration_ms, "bytes_out": bytes_out, "bytes_in": bytes_in}
        self._line(self._name, {**self._fields, **found})

    def _line(self, event: str, fields: Mapping[str, object]) -> None:
        try:
            self._write(event, fields)
        except OSError:
            raise Problem("not-logged") from None
