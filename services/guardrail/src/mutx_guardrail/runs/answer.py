"""What an agent answers, as far as it is understood: fields and events of the contract, each in its narrow form.

An agent may be taken over, so nothing that it says is passed on but what has one of these forms; its free texts are
judged elsewhere, its problems' words and all other fields are left out.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from mutx_service.problem import Problem
from mutx_service.strict_json import JsonError, read_json
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mutx_guardrail.service.problems import TOLD_ON

SERVER_ERROR, LAST_SERVER_ERROR = 500, 599
_LONGEST_RETRY_S = 3_600
_SECONDS = re.compile("[0-9]{1,6}")

Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
"""What a tool is called, and how it ended: passed on as it is."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)


class Started(_Answer):
    """The run has begun."""

    id: str


class Delta(_Answer):
    """A piece of a text; `step` counts the model's calls from 1."""

    step: Annotated[int, Field(ge=1, le=1_000_000)]
    text: Annotated[str, Field(repr=False)]


class ToolUse(_Answer):
    """The agent used a tool."""

    name: Word
    status: Word


class Completed(_Answer):
    """The end of a run that succeeded."""

    id: str
    status: Literal["completed"]
    output: Annotated[str, Field(repr=False)]
    steps: Count
    input_tokens: Count
    output_tokens: Count


class PauseState(_Answer):
    """How an agent's pause stands; `reason` is free text."""

    paused: bool
    since: Annotated[str, Field(pattern=r"^[0-9T:.+Z-]{0,40}$")] = ""
    by: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/@, -]{0,1000}$")] = ""
    reason: Annotated[str, Field(max_length=200, repr=False)] = ""


class _Failure(_Answer):
    code: str


A = TypeVar("A", bound=_Answer)


def parse_answer(content: bytes, kind: type[A]) -> A:
    """Return an answer, or an event's data.

    Raises:
        Problem: `agent-malformed`, without a word of it.
    """
    try:
        return kind.model_validate(read_json(content))
    except (JsonError, ValidationError):
        raise Problem("agent-malformed") from None


def problem_of(content: bytes, status: int, retry_after: str = "") -> Problem:
    """Return what a caller is told of an agent's problem: its code, where the contract has it, and never its words.

    Args:
        content: the problem's document.
        status: the answer's, or 0 where the problem came in an event.
        retry_after: the header's value.
    """
    try:
        code = parse_answer(content, _Failure).code
    except Problem:
        code = ""
    kind = TOLD_ON.get(code)
    if kind is None or status not in {0, kind.status}:
        is_failure = not status or SERVER_ERROR <= status <= LAST_SERVER_ERROR
        return Problem("agent-failed" if is_failure else "agent-malformed")
    wait_s = min(int(retry_after), _LONGEST_RETRY_S) if _SECONDS.fullmatch(retry_after) else None
    return Problem(code, retry_after_s=wait_s)
