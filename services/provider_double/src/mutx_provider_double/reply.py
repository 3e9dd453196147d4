"""What the double answers and what it noted: plain values, also as JSON for callers in other processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model asks for."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """One scripted answer.

    Attributes:
        text: what the model says; in a stream one word a chunk.
        status: another than 200 answers an error in the dialect's shape, which quotes the caller's key in full:
            providers quote parts of it, and whoever logs such a body leaks it.
        retry_after: the header's value for 429 and 503.
        delay_s: silence before the first byte.
        chunk_delay_s: silence between a stream's chunks.
        body: sent instead of an answer, with status 200 (for malformed ones), as `media`.
        break_after: chunks after which a stream ends; with `reset` by a broken connection, else as if it were whole.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    status: int = 200
    retry_after: str = ""
    delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    body: str | None = None
    media: str = "application/json"
    break_after: int | None = None
    reset: bool = False

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Reply:
        """Build a reply from its fields; unknown ones raise TypeError."""
        tools = tuple(ToolCall(**each) for each in content.get("tool_calls", ()))
        return cls(**{**content, "tool_calls": tools})


@dataclass(frozen=True)
class Call:
    """One request as it arrived, with the status it was answered with (times are seconds since 1970)."""

    at: float
    dialect: str
    key: str
    body: dict[str, Any]
    status: int
    headers: dict[str, str]

    @property
    def text(self) -> str:
        """The last message's text."""
        content = self.body.get("messages", [{}])[-1].get("content", "")
        if isinstance(content, str):
            return content
        return " ".join(str(part.get("text") or part.get("content") or "") for part in content)
