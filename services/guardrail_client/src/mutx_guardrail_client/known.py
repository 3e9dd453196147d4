"""Texts that passed a moment ago: a model is sent the whole conversation with each call, and judged text need not wait.

They are found by a digest under a key of this process, are kept ten minutes at most, and are forgotten when the guard's
policy becomes another one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from mutx_guardrail_client.judged import Judged

KNOWN_S = 600.0
MOST_KNOWN = 1_024
LARGEST_KNOWN = 1 << 23
"""Characters of all texts that are kept."""


class Known:
    """What the guard said of texts, by who wrote them. Safe to use from several threads.

    Args:
        now: seconds that only go forward.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._key, self._lock = now, secrets.token_bytes(32), threading.Lock()
        self._found: OrderedDict[bytes, tuple[float, Judged]] = OrderedDict()
        self._size, self._policy = 0, ""

    def get(self, text: str, origin: str, beside: Sequence[str] = ()) -> Judged | None:
        """Return what the guard said of a text that was told it with the texts beside; None where that is not known."""
        with self._lock:
            ends, judged = self._found.get(self._digest(text, origin, beside), (0.0, None))
            return judged if ends > self._now() else None

    def add(self, text: str, origin: str, judged: Judged, beside: Sequence[str] = ()) -> None:
        """Keep what the guard said; another policy ends what was said by the one before."""
        with self._lock:
            if judged.policy and judged.policy != self._policy:
                self._found.clear()
                self._size, self._policy = 0, judged.policy
            digest = self._digest(text, origin, beside)
            self._drop(digest)
            self._found[digest] = (self._now() + KNOWN_S, judged)
            self._size += len(judged.text)
            while len(self._found) > MOST_KNOWN or (self._size > LARGEST_KNOWN and self._found):
                self._drop(next(iter(self._found)))

    def _drop(self, digest: bytes) -> None:
        found = self._found.pop(digest, None)
        if found is not None:
            self._size -= len(found[1].text)

    def _digest(self, text: str, origin: str, beside: Sequence[str]) -> bytes:
        content = json.dumps([origin, text, *beside]).encode()
        return hashlib.blake2b(content, key=self._key, digest_size=16).digest()
