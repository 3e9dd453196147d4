"""The policy in force: a watched file, or the built-in one.

A file that is not valid, or that wants a layer this process was not started with, leaves the earlier policy in force.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from mutx_guardrail.policy import Policy, PolicyError, read_policy
from mutx_guardrail.service.watched_file import WatchedFile


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
        self._tell = tell
        self._file = WatchedFile(path, clock) if path else None
        self._policy = read_policy(path) if path else Policy()
        self._layers = frozenset(self._policy.layers)
        self.problem = ""
        """What is wrong with the newest file; empty where it is in force."""

    def __call__(self) -> Policy:
        """Return what holds now."""
        if self._file is not None:
            self._file.when_changed(self._take)
        return self._policy

    def _take(self, path: Path) -> None:
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
