"""The policy in force: a file that is looked at again as texts come, so that a new one counts without a restart.

A file that is not valid, or that wants a layer this process was not started with, leaves the earlier policy in force.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from mutx_guardrail.policy import Policy, PolicyError, read_policy

LOOK_EVERY_S = 1.0
_Stamp = tuple[int, int, int]


class PolicyFile:
    """The policy of a file, or the built-in one.

    Args:
        path: None for the built-in policy.
        tell: is told of each change: `policy-taken`, or `policy-not-taken` with what is wrong.
        clock: seconds that only go forward.

    Raises:
        PolicyError: the file that is there at the start is not valid.
    """

    def __init__(
        self,
        path: Path | None,
        tell: Callable[[str, dict[str, object]], None] = lambda _event, _fields: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._tell, self._clock = path, tell, clock
        self._lock = threading.Lock()
        self._stamp = _stamp(path) if path else None
        self._policy = read_policy(path) if path else Policy()
        self._looked = clock()
        self._layers = frozenset(self._policy.layers)
        self.problem = ""
        """What is wrong with the newest file; empty where it is in force."""

    def __call__(self) -> Policy:
        """Return what holds now."""
        if self._path is not None and self._clock() - self._looked >= LOOK_EVERY_S:
            with self._lock:
                self._look(self._path)
        return self._policy

    def _look(self, path: Path) -> None:
        self._looked = self._clock()
        stamp = _stamp(path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            policy = read_policy(path)
        except PolicyError as error:
            self._refuse(str(error))
            return
        if not self._layers.issuperset(policy.layers):
            self._refuse("layers: one was not there at the start, and needs a restart")
            return
        self._policy, self.problem = policy, ""
        self._tell("policy-taken", {"policy": policy.digest})

    def _refuse(self, why: str) -> None:
        self.problem = why
        self._tell("policy-not-taken", {"why": why, "policy": self._policy.digest})


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
