"""Texts of documents: whose word each is, and that no string is overlooked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.document import Origin
from mutx_guardrail.egress.refusal import Refusal
from mutx_guardrail.egress.texts import FreeValue, answer_texts, request_texts


def texts(document: dict) -> list[tuple[str, Origin]]:
    return [(part.text, part.origin) for part in request_texts(document, frozenset())]


def test_each_message_s_text_has_its_origin():
    found = texts(
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": [{"type": "text", "text": "what is it"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {"name": "look", "arguments": '{"at": "page one"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c", "content": "the page says"},
            ],
        }
    )

    assert found == [
        ("be kind", Origin.AGENT),
        ("what is it", Origin.USER),
        ("at\npage one", Origin.AGENT),
        ("the page says", Origin.TOOL),
    ]


def test_a_tool_s_result_within_a_user_s_message_is_the_tool_s_word():
    found = texts(
        {
            "system": [{"type": "text", "text": "be kind"}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t",
                            "content": [{"type": "text", "text": "the page says"}],
                        },
                        {"type": "text", "text": "and now"},
                    ],
                }
            ],
        }
    )

    assert found == [("be kind", Origin.AGENT), ("the page says", Origin.TOOL), ("and now", Origin.USER)]


def test_the_form_of_responses_is_read_too():
    found = texts(
        {
            "instructions": "be kind",
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "what is it"}],
                },
                {"type": "function_call_output", "call_id": "c", "output": "the page says"},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": '"one string"'},
            ],
        }
    )

    assert found == [
        ("be kind", Origin.AGENT),
        ("what is it", Origin.USER),
        ("the page says", Origin.TOOL),
        ("one string", Origin.USER),
    ]


PLACES = st.recursive(
    st.just("§"),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)
SPECIAL = st.sampled_from(
    [
        "content",
        "text",
        "input",
        "arguments",
        "tools",
        "function",
        "tool_calls",
        "data",
        "signature",
        "embedding",
        "delta",
        "choices",
        "messages",
        "metadata",
        "schema",
    ]
)


@given(st.dictionaries(SPECIAL, PLACES, min_size=1))
def test_no_string_of_words_is_overlooked_wherever_it_stands(document):
    """Each mark is made a text of its own; what is found must hold all of them, or the request is refused."""
    marks: list[str] = []

    def number(value):
        if isinstance(value, str):
            marks.append(f"mark number {len(marks)} of many")
            return marks[-1]
        return (
            [number(each) for each in value]
            if isinstance(value, list)
            else {k: number(v) for k, v in value.items()}
        )

    numbered = number(document)
    for read in (request_texts, answer_texts):
        try:
            found = "\n".join(part.text for part in read(json.loads(json.dumps(numbered)), frozenset()))
        except Refusal:
            continue
        assert [mark for mark in marks if mark not in found] == []


@pytest.mark.parametrize(
    "kind", ["image_url", "input_audio", "file", "document", "web_search_result", 7], ids=str
)
def test_a_kind_that_is_not_known_is_refused_and_passes_only_by_rule(kind):
    document = {"messages": [{"role": "user", "content": [{"type": kind, "x": "words of any kind"}]}]}

    with pytest.raises(Refusal, match="content_not_judged"):
        request_texts(document, frozenset())
    assert request_texts(document, frozenset({str(kind)})) == []


@pytest.mark.parametrize(
    "document", [{"messages": [{"role": "root", "content": "x"}]}, {"functions": ["x"]}, {"a b": 1}]
)
def test_a_form_that_nobody_has_is_refused(document):
    with pytest.raises(Refusal, match="request_invalid"):
        request_texts(document, frozenset())


def test_a_changed_argument_goes_back_into_its_string():
    call = {"function": {"name": "f", "arguments": json.dumps({"to": "ann at home", "n": [1, "x y"]})}}
    (group,) = request_texts({"messages": [{"role": "assistant", "tool_calls": [call]}]}, frozenset())

    assert isinstance(group, FreeValue)
    group.slots[0].put("[REDACTED]")
    group.finish()

    assert json.loads(call["function"]["arguments"]) == {"to": "[REDACTED]", "n": [1, "x y"]}
