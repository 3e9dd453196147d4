"""Which actions the sandbox's AWS was asked for, to compare with what IAM grants."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


class Recording:
    """What the sandbox's AWS was asked for, without what the test itself asks."""

    def __init__(self, endpoint: str) -> None:
        self._url = f"{endpoint}/mutx-api/actions"
        self._kept: set[str] = set()
        self._take()
        self._kept.clear()

    def actions(self) -> set[str]:
        self._take()
        return self._kept

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is asked within the context."""
        self._take()
        yield
        kept = set(self._kept)
        self._take()
        self._kept = kept

    def _take(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(self._url, method="DELETE")  # noqa: S310 - on loopback
        with opener.open(request, timeout=10) as answer:
            self._kept |= set(json.loads(answer.read()))
