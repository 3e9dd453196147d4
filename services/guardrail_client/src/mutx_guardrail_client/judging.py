"""Judging the texts of a JSON document, and putting what may be used in their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mutx_guardrail_client.aio import AsyncGuardClient
from mutx_guardrail_client.errors import Refused
from mutx_guardrail_client.fields import Texts
from mutx_guardrail_client.judged import Item

AT_ONCE = 16
"""Texts of one batch: each takes a place among those that the guard judges side by side."""

NOT_MASKABLE = "content_not_maskable"
"""The reason of a refusal that is the client's own: what is to be masked stands where it cannot be."""


async def judge_texts(guard: AsyncGuardClient, texts: Texts, direction: Literal["input", "output"]) -> None:
    """Judge all texts of a document; names are judged as one text, which must come back as it is.

    Raises:
        Refused: one of them is refused, or a name would have to be changed.
        GuardUnavailable: one of them was not judged.
    """
    given = [slot.text for slot in texts.slots]
    names = "\n".join(texts.names)
    answers = await judge_all(guard, [*given, names] if names else given, direction)
    if names and answers.pop() != names:
        raise Refused(NOT_MASKABLE, details="a name in the document would have to be masked")
    for slot, text in zip(texts.slots, answers, strict=True):
        slot.put(text)


async def judge_all(
    guard: AsyncGuardClient, texts: Sequence[str], direction: Literal["input", "output"]
) -> list[str]:
    """Return what may be used of each text; empty ones need no judge. It raises as `judge_texts` does."""
    if len(texts) == 1 and texts[0]:
        # One text by itself is counted as what it is: an output goes into the agent's normal length.
        judged = await (guard.input(texts[0]) if direction == "input" else guard.output(texts[0]))
        return [judged.text]
    found = list(texts)
    asked = [at for at, text in enumerate(texts) if text]
    for begin in range(0, len(asked), AT_ONCE):
        part = asked[begin : begin + AT_ONCE]
        answers = await guard.batch([Item(texts[at], direction) for at in part])
        for at, answer in zip(part, answers, strict=True):
            if isinstance(answer, Refused):
                raise answer
            found[at] = answer.text
    return found
