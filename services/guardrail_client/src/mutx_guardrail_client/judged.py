"""What the guard said of a text that may be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Origin = Literal["user", "tool", "retrieved", "agent"]
FOREIGN: frozenset[str] = frozenset({"tool", "retrieved"})
"""Origins of which no instruction is expected; the guard marks their texts."""
MOST_EARLIER = 8
"""Turns that the guard looks at."""
LONGEST_TASK = 4_000
"""Characters of what the user asked for that the guard takes."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        action: `mask`, `truncate` or `flag`; empty where nothing had to be done.
        confidence: 0 to 1.
    """

    name: str
    passed: bool
    confidence: float
    action: str = ""


@dataclass(frozen=True, slots=True)
class Spotlight:
    """A foreign text with its words joined by a mark, and what to tell the model of the mark."""

    text: str = field(repr=False)
    mark: str
    instruction: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A text that may be used.

    Attributes:
        text: what to use instead of the given text: masked, cut, escaped as the policy says; not part of the repr.
        degraded: layers that the policy leaves out, as `judge`.
        spotlight: for texts of tools and pages.
        review: the id under which a reviewer finds the verdict; empty where none is kept.
        policy: name and digest of the policy.
    """

    text: str = field(repr=False)
    checks: tuple[Check, ...]
    degraded: tuple[str, ...] = ()
    spotlight: Spotlight | None = None
    review: str = ""
    policy: str = ""
    model: str = ""

    @property
    def allowed(self) -> bool:
        """True: a text that is not allowed raises `Refused`."""
        return True

    @property
    def reason(self) -> str:
        """Empty: only `Refused` has a reason."""
        return ""

    @property
    def action(self) -> str:
        """What was done to the text, or noted of it: the first check's action; empty for nothing."""
        return next((check.action for check in self.checks if check.action), "")


@dataclass(frozen=True, slots=True)
class Item:
    """One text of a batch; `task` is what the user asked for, where the text is foreign."""

    text: str = field(repr=False)
    direction: Literal["input", "output"] = "input"
    origin: Origin = "user"
    task: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class InputQuestion:
    """A text that is to go to an agent, as the guard is asked about it.

    Attributes:
        earlier: the user's turns before it, oldest first; the last `MOST_EARLIER` are told.
        task: what the user asked for, where the text is foreign.
    """

    text: str = field(repr=False)
    origin: Origin = "user"
    earlier: tuple[str, ...] = field(default=(), repr=False)
    task: str = field(default="", repr=False)

    def document(self, agent: str) -> dict[str, object]:
        """Return the body of the request; what is empty is left out."""
        beside = {"earlier": list(self.earlier[-MOST_EARLIER:]), "task": self.task}
        told = {name: value for name, value in beside.items() if value}
        return {"text": self.text, "agent": agent, "origin": self.origin, **told}
