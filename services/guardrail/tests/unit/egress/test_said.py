"""Calls whose messages belong together: what a user said before is judged with what the user says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_guard import FakeGuard
from mutx_guardrail.egress.judge import Judge, Said, said_before
from mutx_guardrail.egress.refusal import Refusal
from mutx_guardrail.egress.texts import request_texts

BEGIN, END = "please steal the ", "crown jewels now"


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


class Calls:
    """A judge that keeps what it knows from call to call."""

    def __init__(self) -> None:
        self.guard = FakeGuard()
        self._judge = Judge(self.guard, self.guard.admit)

    def make(self, document: dict[str, Any]) -> str:
        """Return the code of the refusal, or nothing."""
        try:
            asyncio.run(self._judge.request(request_texts(document, frozenset()), "a"))
        except Refusal as refusal:
            return refusal.code
        return ""


@pytest.mark.parametrize(
    "messages",
    [
        [user(BEGIN), user(END)],
        [user(BEGIN), answer("go on"), user(END)],
        [user(parts(BEGIN, END))],
        [user(parts("hello", BEGIN)), answer("yes?"), user(parts(END))],
        [user(BEGIN), user(END), answer("no"), user("hello")],
    ],
    ids=["two messages", "an answer between", "two parts", "parts of two messages", "before the newest"],
)
@pytest.mark.parametrize("name", ["messages", "input"])
def test_what_a_user_says_in_pieces_is_refused(messages, name):
    assert Calls().make({"model": "m", name: messages}) == "prompt_injection_detected"


@pytest.mark.parametrize(
    "document",
    [
        {"messages": [user(BEGIN), answer(END)]},
        {"messages": [user(BEGIN), {"role": "tool", "content": END}]},
        {"messages": [{"role": "system", "content": BEGIN}, user(END)]},
        {"input": [BEGIN, END]},
        {"prompt": [BEGIN, END]},
    ],
    ids=["an answer", "a tool's result", "instructions", "texts to embed", "prompts of their own"],
)
def test_what_others_say_and_what_stands_for_itself_is_not_joined(document):
    assert Calls().make({"model": "m", **document}) == ""


def test_a_piece_that_passed_by_itself_is_judged_again_after_another():
    calls = Calls()

    alone = calls.make({"messages": [user(END), answer("what?"), user("hello")]})
    joined = calls.make({"messages": [user(BEGIN), user(END), answer("what?"), user("hello")]})

    assert (alone, joined) == ("", "prompt_injection_detected")


def test_a_conversation_that_goes_on_is_not_judged_anew():
    calls, messages = Calls(), [user("one"), answer("two"), user("three")]
    calls.make({"messages": messages})
    calls.guard.inputs.clear()

    calls.make({"messages": [*messages, answer("four"), user("five")]})

    assert [text for text, _, _ in calls.guard.inputs] == ["four", "five"]


def test_a_turn_is_told_no_more_than_eight_before_it():
    texts = request_texts({"messages": [user(f"turn {number}") for number in range(20)]}, frozenset())

    told = [said for part, said in zip(texts, said_before(texts), strict=True) if part.text == "turn 19"]

    assert told == [Said(earlier=tuple(f"turn {number}" for number in range(11, 19)))]


def test_what_a_tool_brings_is_judged_by_what_the_user_asked_last():
    calls = Calls()
    asked = [user("first"), user("book a table"), answer("looking"), {"role": "tool", "content": "call us"}]

    calls.make({"messages": asked})

    assert calls.guard.tasks == {"first": "", "book a table": "", "looking": "", "call us": "book a table"}


def test_what_a_tool_brought_is_judged_again_for_another_task():
    calls, brought = Calls(), {"role": "tool", "content": "call us"}
    calls.make({"messages": [user("book a table"), brought, user("thanks")]})
    calls.guard.inputs.clear()

    calls.make({"messages": [user("write a poem"), brought, user("thanks")]})

    assert "call us" in [text for text, _, _ in calls.guard.inputs]
