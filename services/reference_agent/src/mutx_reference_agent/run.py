"""What a run is asked with and what it says: the values between HTTP and the agent."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Annotated, Literal, NoReturn, Protocol

from mutx_service.problem import Problem
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mutx_reference_agent.pause import LONGEST_REASON

LONGEST_TEXT = 100_000
MOST_TURNS = 100
_SHOWN_ERRORS = 10
_SHOWN_FIELD = 64

Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Turn(_Strict):
    """One earlier message of the conversation; the agent itself remembers none."""

    role: Literal["user", "assistant"]
    content: Text


class RunRequest(_Strict):
    """The body of `POST /v1/runs`."""

    input: Text
    history: Annotated[tuple[Turn, ...], Field(max_length=MOST_TURNS, strict=False)] = ()
    stream: bool = False
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None

    def __repr__(self) -> str:
        return f"RunRequest(id={self.id!r}, stream={self.stream})"

    __str__ = __repr__


class PauseRequest(_Strict):
    """The body of `PUT /v1/pause`, which may be empty as well."""

    reason: Annotated[str, Field(max_length=LONGEST_REASON)] = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of text as the model says it; `step` counts the model's calls from 1."""

    step: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The agent used a tool; what went in and came out stays inside."""

    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a run that succeeded. Token counts are 0 where the provider tells none."""

    output: str = field(repr=False)
    steps: int
    input_tokens: int
    output_tokens: int


Event = Delta | ToolUse | Finished


class Agent(Protocol):
    """What the HTTP side needs of an agent: this one is LangChain's; a test's is a few lines."""

    def run(self, request: RunRequest) -> AsyncGenerator[Event]:
        """Yield what happens, `Finished` last; without `request.stream` nothing else need come.

        Raises:
            Problem: the run failed.
        """
        ...


def parse_pause(body: bytes) -> str:
    """Return the reason that a caller gives for a pause.

    Raises:
        Problem: `request-invalid`.
    """
    if not body.strip():
        return ""
    try:
        return PauseRequest.model_validate_json(body).reason
    except ValidationError:
        raise Problem("request-invalid", 'the body is {"reason": "…"}, or empty') from None


def parse_request(body: bytes) -> RunRequest:
    """Return the request that a body holds.

    A name that comes twice is refused: the guard, which judged the text, may have read the other one.

    Raises:
        Problem: `request-invalid`, naming fields and reasons, never values.
    """
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_once_each, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Problem("request-invalid", "the body is not UTF-8") from None
    except RecursionError:
        raise Problem("request-invalid", "the body is nested too deeply") from None
    except ValueError as error:
        known = str(error) if isinstance(error, _NotTakenError) else "the body is not JSON"
        raise Problem("request-invalid", known) from None
    try:
        return RunRequest.model_validate(found)
    except ValidationError as error:
        raise Problem("request-invalid", "one or more fields are wrong", errors=_reasons(error)) from None


class _NotTakenError(ValueError):
    """JSON that some parsers read in another way than others."""


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotTakenError("a name comes twice in an object")
    return found


def _no_constant(_word: str) -> NoReturn:
    raise _NotTakenError("NaN and Infinity are not JSON")


def _reasons(error: ValidationError) -> list[dict[str, str]]:
    return [
        {
            "field": ".".join(str(part) for part in each["loc"])[:_SHOWN_FIELD]
            .encode("ascii", "replace")
            .decode(),
            "reason": each["type"],
        }
        for each in error.errors(include_url=False, include_context=False, include_input=False)[
            :_SHOWN_ERRORS
        ]
    ]
