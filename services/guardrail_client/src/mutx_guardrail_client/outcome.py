"""How a request to an agent ended: counted once, by the guard itself where it judged the request's output."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OpenRequest:
    """A request inside its `with` block."""

    agent: str
    was_counted: bool = False


_OPEN: ContextVar[OpenRequest | None] = ContextVar("open_request", default=None)


def note_output(agent: str) -> None:
    """Note that the guard judged an output of an agent: it counts that as one that went well."""
    request = _OPEN.get()
    if request is not None and request.agent == agent:
        request.was_counted = True


class Outcome:
    """The `with` block of one request, without the report itself."""

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._request: OpenRequest | None = None
        self._outer: OpenRequest | None = None

    def begin(self) -> None:
        """Enter the block."""
        self._outer, self._request = _OPEN.get(), OpenRequest(self._agent)
        _OPEN.set(self._request)

    def end(self, error: BaseException | None) -> bool | None:
        """Leave the block; return what to report, None for nothing.

        A caller that hung up or a process that ends (no `Exception`) is no failure of the agent's.
        """
        request, self._request = self._request, None
        _OPEN.set(self._outer)
        if request is None or not self._agent:
            return None
        if error is None:
            return None if request.was_counted else True
        return False if isinstance(error, Exception) else None
