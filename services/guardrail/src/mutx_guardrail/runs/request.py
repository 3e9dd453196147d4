"""What a caller asks of an agent, and what of it may be sent: the body of the agent's contract, each text judged.

docs/reference/agent-contract.md, "Runs".
"""

from __future__ import annotations

from typing import Annotated, Literal

from mutx_service.problem import Problem
from mutx_service.strict_json import JsonError, read_json
from pydantic import Field

from mutx_guardrail.service.question import Question, check_question

LONGEST_TEXT = 100_000
MOST_TURNS = 100
LONGEST_REASON = 200

Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Turn(Question):
    """One earlier message of the conversation."""

    role: Literal["user", "assistant"]
    content: Text


class RunRequest(Question):
    """The body of a run."""

    input: Text
    history: Annotated[list[Turn], Field(default_factory=list, max_length=MOST_TURNS)]
    stream: bool = False
    id: RunId | None = None

    def __repr__(self) -> str:
        return f"RunRequest(stream={self.stream}, turns={len(self.history)})"

    __str__ = __repr__


class PauseRequest(Question):
    """The body of a pause, which may be empty as well."""

    reason: Annotated[str, Field(max_length=LONGEST_REASON)] = ""


def parse_run(body: bytes) -> RunRequest:
    """Return the run that a body asks for.

    Raises:
        Problem: `request-invalid`; also for JSON that the agent could read in another way than this guard.
    """
    return check_question(_read(body), RunRequest)


def parse_pause(body: bytes) -> str:
    """Return the reason that a caller gives for a pause; empty where it gives none.

    Raises:
        Problem: `request-invalid`.
    """
    return check_question(_read(body), PauseRequest).reason if body.strip() else ""


def document_of(run_id: str, asked: RunRequest, text: str, turns: list[str]) -> dict[str, object]:
    """Return the body for the agent, with the judged texts in the places of the given ones.

    Raises:
        Problem: `request-invalid`, where a text is empty without its dangerous characters, or too long with its masks.
    """
    for field, judged in (("input", text), *((f"history.{at}", turn) for at, turn in enumerate(turns))):
        if not 1 <= len(judged) <= LONGEST_TEXT:
            what = "too long with its masks" if judged else "empty without its dangerous characters"
            raise Problem("request-invalid", errors=[{"field": field, "message": f"is {what}"}])
    history = [
        {"role": given.role, "content": turn} for given, turn in zip(asked.history, turns, strict=True)
    ]
    return {"input": text, "history": history, "stream": asked.stream, "id": run_id}


def _read(body: bytes) -> object:
    try:
        return read_json(body)
    except JsonError as error:
        raise Problem("request-invalid", f"the body {error}") from None
