"""Windows over a stream: what leaves is what the guard leaves of the whole, however the text is cut into events."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.egress.dialect import OpenAi
from mutx_guardrail.egress.refusal import Refusal
from mutx_guardrail.egress.window import Waiting, Windows

CARD = "card-1234"
WINDOW = 16


async def mask(text: str) -> str:
    if "FORBIDDEN" in text:
        raise Refusal("prompt_injection_detected", "refused")
    return re.sub(r"card-\d{4}", "[M]", text)


def event(text: str, **more: object) -> Waiting:
    return Waiting("", {"choices": [{"index": 0, "delta": {"content": text}, **more}]})


def text_of(events: list[Waiting]) -> str:
    return "".join(each.document["choices"][0]["delta"]["content"] for each in events if each.document)


async def run(pieces: list[str], judge=mask) -> list[list[Waiting]]:
    """Return what leaves at each push, and at the end."""
    dialect = OpenAi()
    windows = Windows(dialect, judge, WINDOW, 10_000)
    found = []
    for piece in pieces:
        waiting = event(piece)
        found.append(await windows.push(waiting, dialect.deltas(waiting.document)))
    return [*found, await windows.finish()]


def cut(text: str, sizes: list[int]) -> list[str]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    return [*pieces, text[at:]]


@given(
    st.lists(
        st.sampled_from(["a", "bb ", "words ", CARD, f" {CARD} ", "card-", "12", "é\U0001f600"]), max_size=40
    ),
    st.lists(st.integers(0, 25), max_size=30),
)
def test_however_it_is_cut_the_whole_is_masked(words, sizes):
    text = "".join(words)

    left = asyncio.run(run(cut(text, sizes)))

    assert text_of([each for part in left for each in part]) == asyncio.run(mask(text))


@given(st.lists(st.integers(1, 25), max_size=30), st.integers(0, 60))
def test_what_is_refused_has_not_left_in_part(sizes, before):
    seen: list[Waiting] = []

    async def go() -> None:
        dialect = OpenAi()
        windows = Windows(dialect, mask, WINDOW, 10_000)
        for piece in cut(f"{'x' * before}FORBIDDEN{'y' * 40}", sizes):
            waiting = event(piece)
            seen.extend(await windows.push(waiting, dialect.deltas(waiting.document)))
        seen.extend(await windows.finish())

    with pytest.raises(Refusal):
        asyncio.run(go())

    assert "F" not in text_of(seen)


def test_events_leave_before_the_end_and_as_they_came():
    pieces = ["one ", "two ", "three ", "four ", "five ", "six ", "seven ", "eight ", "nine "]

    left = asyncio.run(run(pieces))

    assert any(left[:-1])
    assert [text_of([each]) for part in left for each in part] == pieces


def test_a_text_that_only_the_whole_shows_is_refused_before_its_end_is_told():
    """Far apart: no window holds both."""

    async def judge(text: str) -> str:
        if "begin" in text and "finish" in text:
            raise Refusal("prompt_injection_detected", "refused")
        return text

    with pytest.raises(Refusal):
        asyncio.run(run(["begin ", *["x" * 10] * 20, "finish"], judge))


def test_what_follows_a_text_waits_for_it():
    async def go() -> list[int]:
        dialect = OpenAi()
        windows = Windows(dialect, mask, WINDOW, 10_000)
        first, end = event("short"), event("", finish_reason="stop")
        return [
            len(await windows.push(first, dialect.deltas(first.document))),
            len(await windows.push(end, dialect.deltas(end.document))),
        ]

    assert asyncio.run(go()) == [0, 2]


def test_a_text_that_cannot_leave_is_not_judged_at_every_window():
    judged: list[int] = []

    async def change_the_end(text: str) -> str:
        judged.append(len(text))
        return f"{text[:-1]}!" if text else text

    asyncio.run(run(["x" * 4] * 1_000, change_the_end))

    assert sum(judged) < 10 * 4_000


def test_an_answer_past_its_bound_is_refused():
    with pytest.raises(Refusal, match="answer_too_large"):
        asyncio.run(run(["x" * 6_000, "y" * 6_000]))
