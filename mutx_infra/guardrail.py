"""What an operator says about a tenant's guardrail: where its agents may go, who is the judge, or why there is none."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_PATTERN = rf"^(\*\.)?({_LABEL}\.)+[a-z]([a-z0-9-]{{0,61}}[a-z0-9])?$"


class Provider(StrEnum):
    """Whom agents call by the judged way."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"


class Family(StrEnum):
    """How a judge is asked, and how it answers."""

    QWEN3GUARD = "qwen3guard"
    GRANITE_GUARDIAN = "granite-guardian"
    LLAMA_GUARD = "llama-guard"
    INSTRUCT = "instruct"


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"names {repeated[0]} twice")
    return values


def _day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError as exc:
        raise ValueError("is no day of the calendar") from exc
    return text


HostPattern = Annotated[
    str,
    Field(
        max_length=253,
        pattern=_HOST_PATTERN,
        description="Host name in lower case, exact or `*.NAME`.",
        examples=["api.openai.com"],
    ),
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Judge(_Part):
    """A language model on the guard's own host, served by vLLM (the role `judge`) or by a server of the operator's."""

    url: (
        Annotated[
            str,
            Field(
                max_length=200,
                pattern=r"^http://127\.0\.0\.1:[0-9]{1,5}/v1$",
                examples=["http://127.0.0.1:8100/v1"],
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Your own server on the guard: texts leave it for no judge. Default: vLLM, by the role `judge`.",
    )
    model: Annotated[
        str,
        Field(
            max_length=200,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
            description="As its server names it.",
            examples=["Qwen/Qwen3Guard-Gen-4B"],
        ),
    ]
    family: Annotated[Family, Field(strict=False, description="How it is asked, and how it answers.")]


class Waiver(_Part):
    """That a production guard does without a judge is borne by somebody, and ends."""

    owner: Annotated[
        str,
        Field(min_length=3, max_length=200, description="Who answers for it.", examples=["ann@example.com"]),
    ]
    reason: Annotated[str, Field(min_length=10, max_length=500, description="Why it is borne.")]
    expires: Annotated[
        str,
        Field(
            pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
            description="The last day, in quotes.",
            examples=["2027-03-31"],
        ),
        AfterValidator(_day),
    ]

    def holds(self, today: date) -> bool:
        """Say whether it still does; it holds to the end of its day."""
        return today <= date.fromisoformat(self.expires)


class Guardrail(_Part):
    """What is the tenant's own about its guardrail.

    Attributes:
        providers: whom every agent may call by the judged way.
        tunnels: to where every agent may open a tunnel, which nobody judges.
    """

    providers: Annotated[
        tuple[Annotated[Provider, Field(strict=False)], ...],
        Field(max_length=len(Provider), json_schema_extra={"uniqueItems": True}),
    ] = Field(default=(), description="Whom agents call by the judged way. Default: nobody.")
    tunnels: Annotated[
        tuple[HostPattern, ...], Field(max_length=50, json_schema_extra={"uniqueItems": True})
    ] = Field(default=(), description="Where agents may open tunnels, which nobody judges. Default: nowhere.")
    judge: Judge | None = Field(default=None, description="The judge. A production environment wants one.")
    without_judge: Waiver | None = Field(
        default=None, description="Why a production guard does without a judge, and until when."
    )

    @field_validator("providers", "tunnels")
    @classmethod
    def _names_are_distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _distinct(names)
