"""The bodies of requests: strict JSON (no name twice, bounded depth), then pydantic, unknown fields refused."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from mutx_service.problem import Problem
from mutx_service.strict_json import JsonError, parse_json
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mutx_guardrail.document import LONGEST_TASK, Origin
from mutx_guardrail.review import Mark

Task = Annotated[str, Field(max_length=LONGEST_TASK)]
"""What the agent's user asked of it: a tool's or a page's text may hold what serves that."""
AgentName = Annotated[str, Field(max_length=63, pattern=r"^$|^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
MOST_ITEMS = 64
MOST_EARLIER = 100
_LONGEST_FIELD = 200


def _at_most(characters: int) -> AfterValidator:
    """Return the bound of a text; pydantic's own takes none with half a surrogate pair, where a stream was cut."""

    def check(text: str) -> str:
        if len(text) > characters:
            raise ValueError(f"has more than {characters} characters")
        return text

    return AfterValidator(check)


class Question(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class InputQuestion(Question):
    """A text that is to go to an agent. `origin` says who wrote it, `task` what a foreign one is looked up for.

    `earlier` are the same user's turns before it, oldest first: they are not judged again, but an attack that began in
    them and ends in this one is found. None of them is kept.
    """

    text: str
    earlier: Annotated[list[str], Field(max_length=MOST_EARLIER)] = []
    agent: AgentName = ""
    origin: Annotated[Origin, Field(strict=False)] = Origin.USER
    task: Task = ""


class OutputQuestion(Question):
    """A text that comes from an agent."""

    text: str
    agent: AgentName = ""


class WindowQuestion(Question):
    """A piece of a stream: the end of what was released before, what is new, and whether it is the last."""

    before: Annotated[str, _at_most(8_000), Field(json_schema_extra={"maxLength": 8_000})] = ""
    text: Annotated[str, _at_most(64_000), Field(json_schema_extra={"maxLength": 64_000})]
    agent: AgentName = ""
    final: bool = False


class BatchItem(Question):
    """One text of a batch."""

    direction: Literal["input", "output"] = "input"
    text: str
    agent: AgentName = ""
    origin: Annotated[Origin, Field(strict=False)] = Origin.USER
    task: Task = ""


class BatchQuestion(Question):
    """Several texts, judged side by side and answered in their order.

    A batch measures: of its outputs nothing is learned about their agents, unless `learn` says that they were said just
    now. Its inputs count as requests, since an agent may be run on them.
    """

    items: Annotated[list[BatchItem], Field(min_length=1, max_length=MOST_ITEMS)]
    learn: bool = False


class OutcomeQuestion(Question):
    """How a request to an agent ended that did not go through this guard: an error counts towards its pause."""

    ok: bool


class MarkQuestion(Question):
    """What a reviewer says of a finding."""

    verdict: Annotated[Mark, Field(strict=False)]
    reviewer: Annotated[str, Field(min_length=1, max_length=200)]


Q = TypeVar("Q", bound=Question)


def parse_question(body: bytes, kind: type[Q]) -> Q:
    """Return a body as a question.

    Raises:
        Problem: `request-invalid`, with one entry for each wrong field; never with a value.
    """
    try:
        document = parse_json(body.decode())
    except UnicodeDecodeError as error:
        raise Problem("request-invalid", f"the body is no UTF-8 at byte {error.start}") from None
    except JsonError as error:
        raise Problem("request-invalid", f"the body {error}") from None
    return check_question(document, kind)


def check_question(document: object, kind: type[Q]) -> Q:
    """Return parsed JSON as a question.

    Raises:
        Problem: `request-invalid`, as `parse_question` does.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        errors = [
            {"field": ".".join(str(part) for part in each["loc"])[:_LONGEST_FIELD], "message": each["msg"]}
            for each in error.errors(include_input=False, include_url=False)[:20]
        ]
        raise Problem("request-invalid", errors=errors) from None
