"""What a family of models is: how it is asked about a text, and how its answer is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from mutx_guardrail.document import Origin
from mutx_guardrail.judge.answer import Answer
from mutx_guardrail.verdict import CheckName

THRESHOLD: Final = 0.5
"""From this likelihood on the judge counts as having found something, where the policy says nothing else."""

UNKNOWN_QUESTION: Final = "(The question is not known.)"
"""Stands for the user's turn where a response alone is judged, and no purpose is declared."""

_TAG = re.compile(r"<(?=\S)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INSTRUCTION = re.compile(r"\[(?=/?(?:INST|SYS|AVAILABLE_TOOLS|TOOL)[A-Z_]*\])")


class Direction(StrEnum):
    """Whether a text goes to an agent or comes from one."""

    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Subject:
    """A text to be judged, whole or a window of one.

    Args:
        purpose: what the agent is there for, as the policy declares it; may be empty.
        nonce: random, and of this request alone.
    """

    text: str
    direction: Direction
    nonce: str
    origin: Origin = Origin.USER
    purpose: str = ""

    @property
    def harmless_text(self) -> str:
        """The text with every control token of a chat template broken: no `<|im_end|>` in it ends its turn.

        Halves of surrogate pairs, which no UTF-8 holds, are replaced.
        """
        return _INSTRUCTION.sub("[ ", _TAG.sub("< ", _SURROGATE.sub("\ufffd", self.text)))

    @property
    def turns(self) -> tuple[Mapping[str, str], ...]:
        """The text as a conversation: a user's turn, or an assistant's after one that stands for the question.

        llama.cpp's server takes an assistant's turn at the end for the begin of the answer, unless it is started with
        `--no-prefill-assistant`; vLLM does not.
        """
        if self.direction is Direction.INPUT:
            return ({"role": "user", "content": self.harmless_text},)
        return (
            {"role": "user", "content": self.purpose or UNKNOWN_QUESTION},
            {"role": "assistant", "content": self.harmless_text},
        )


@dataclass(frozen=True, slots=True)
class Question:
    """One request about a text.

    Args:
        checks: what its answer tells.
        schema: of the JSON that is to be answered; None where the model has a form of its own.
    """

    messages: tuple[Mapping[str, str], ...]
    checks: tuple[CheckName, ...]
    max_tokens: int
    nonce: str = ""
    schema: Mapping[str, object] | None = None

    def document(self, model: str) -> dict[str, object]:
        """Return the request's JSON: as little left to chance as a server allows."""
        whole: dict[str, object] = {
            "model": model,
            "messages": list(self.messages),
            "max_tokens": self.max_tokens,
            "temperature": 0,
            "top_p": 1,
            "seed": 0,
            "n": 1,
            "stream": False,
            "logprobs": True,
            "top_logprobs": 5,
        }
        if self.schema is not None:
            form = {"name": "rating", "strict": True, "schema": self.schema}
            whole["response_format"] = {"type": "json_schema", "json_schema": form}
        return whole


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says: a likelihood (0 to 1) for each check, and what the model calls it."""

    scores: Mapping[CheckName, float]
    labels: Mapping[CheckName, str] = field(default_factory=dict)


class Family(Protocol):
    """Asks about texts and reads answers; pure."""

    def checks(self, direction: Direction) -> tuple[CheckName, ...]:
        """Return what the family tells of a text."""

    def questions(self, subject: Subject) -> tuple[Question, ...]:
        """Return what to ask; the answers together tell every check."""

    def read(self, question: Question, answer: Answer) -> Reading:
        """Return what an answer says.

        Raises:
            Unreadable: it is not exactly of the published form.
        """
