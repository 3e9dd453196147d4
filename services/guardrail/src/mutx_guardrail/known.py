"""Which texts passed as they were a moment ago, so that a conversation sent again is not judged anew.

What is kept are digests under a key of this process, never texts.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from mutx_guardrail.document import Origin

KNOWN_S = 600.0
MOST_KNOWN = 65_536


class Known:
    """Digests of texts that passed as they were, under one policy."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._key, self._policy = now, secrets.token_bytes(32), ""
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def adopt(self, policy: str) -> bool:
        """Forget all where the policy is another one; say whether something was forgotten."""
        if policy == self._policy:
            return False
        had_some = bool(self._ends)
        self._policy = policy
        self._ends.clear()
        return had_some

    def has(self, agent: str, origin: Origin, text: str, earlier: Sequence[str] = ()) -> bool:
        """Say whether a text of this origin passed as it was, for this agent, after these turns."""
        return self._ends.get(self._digest(agent, origin, text, earlier), 0.0) > self._now()

    def add(self, agent: str, origin: Origin, text: str, earlier: Sequence[str] = ()) -> None:
        """Note that a text passed as it was."""
        digest = self._digest(agent, origin, text, earlier)
        self._ends[digest] = self._now() + KNOWN_S
        self._ends.move_to_end(digest)
        while len(self._ends) > MOST_KNOWN:
            self._ends.popitem(last=False)

    def _digest(self, agent: str, origin: Origin, text: str, earlier: Sequence[str]) -> bytes:
        content = json.dumps([agent, origin.value, text, *earlier]).encode()
        return hashlib.blake2b(content, key=self._key, digest_size=16).digest()
