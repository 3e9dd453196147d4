"""What is told of an agent's behaviour, for the audit and whoever is to look: names and numbers, never a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


class EventKind(StrEnum):
    """What happened."""

    RATE_LIMITED = "rate_limited"
    PAUSED = "paused"
    PROBED = "probed"
    RESUMED = "resumed"
    HELD = "held"
    LONG_OUTPUT = "long_output"
    DRIFTED = "drifted"
    STORE_LOST = "store_lost"
    STORE_BACK = "store_back"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one agent; the store's events name none.

    Args:
        time: seconds since 1970.
    """

    time: float
    kind: EventKind
    agent: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "time": round(self.time, 3), "kind": self.kind.value, "agent": self.agent, **self.numbers,
        }  # fmt: skip


Sink: TypeAlias = Callable[[Event], None]
"""Takes an event at once and raises nothing."""
