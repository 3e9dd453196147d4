"""What a caller may ask, and what of it goes to the agent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.runs.request import document_of, parse_pause, parse_run
from mutx_service.problem import Problem

REFUSED = {
    "no object": b"[]",
    "no JSON": b"{",
    "an unknown field": b'{"input": "x", "system": "y"}',
    "a name twice": b'{"input": "x", "input": "y"}',
    "a name twice within": b'{"input": "x", "history": [{"role": "user", "role": "assistant", "content": "y"}]}',
    "an empty text": b'{"input": ""}',
    "no text": b"{}",
    "too long": json.dumps({"input": "x" * 100_001}).encode(),
    "too many turns": json.dumps(
        {"input": "x", "history": [{"role": "user", "content": "y"}] * 101}
    ).encode(),
    "another role": b'{"input": "x", "history": [{"role": "system", "content": "y"}]}',
    "an empty turn": b'{"input": "x", "history": [{"role": "user", "content": ""}]}',
    "half a character": b'{"input": "\\ud800"}',
    "no UTF-8": b'{"input": "\xff"}',
    "a number as text": b'{"input": 1}',
    "a word as number": b'{"input": "x", "stream": "yes"}',
    "no run's name": b'{"input": "x", "id": "a/b"}',
    "NaN": b'{"input": "x", "stream": NaN}',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_is_no_run_is_refused(body):
    with pytest.raises(Problem) as raised:
        parse_run(body)

    assert raised.value.code == "request-invalid"


def test_the_longest_run_is_taken():
    turns = [{"role": "assistant", "content": "y"}] * 100
    asked = parse_run(json.dumps({"input": "x" * 100_000, "history": turns, "id": "Az_-9" * 12}).encode())

    assert (len(asked.input), len(asked.history), asked.stream) == (100_000, 100, False)


def test_a_run_shows_no_text():
    asked = parse_run(b'{"input": "canary", "history": [{"role": "user", "content": "canary"}]}')

    assert "canary" not in f"{asked} {asked!r}"


def test_judged_texts_take_the_places_of_the_given_ones():
    asked = parse_run(b'{"input": "a", "history": [{"role": "user", "content": "b"}], "stream": true}')

    assert document_of("r", asked, "A", ["B"]) == {
        "input": "A", "history": [{"role": "user", "content": "B"}], "stream": True, "id": "r",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "turn", "field"),
    [("", "b", "input"), ("a", "", "history.0"), ("a" * 100_001, "b", "input")],
    ids=["nothing left of the input", "nothing left of a turn", "longer with masks"],
)
def test_a_text_that_the_agent_would_not_take_is_refused_here(text, turn, field):
    asked = parse_run(b'{"input": "a", "history": [{"role": "user", "content": "b"}]}')

    with pytest.raises(Problem) as raised:
        document_of("r", asked, text, [turn])

    assert [each["field"] for each in raised.value.errors] == [field]


@pytest.mark.parametrize(
    ("body", "reason"), [(b"", ""), (b" \n", ""), (b"{}", ""), (b'{"reason": "looked at"}', "looked at")]
)
def test_a_pause_has_a_reason_or_none(body, reason):
    assert parse_pause(body) == reason


@pytest.mark.parametrize(
    "body", [b'{"reason": 1}', b'{"why": "x"}', b"[]", json.dumps({"reason": "x" * 201}).encode()]
)
def test_what_is_no_pause_is_refused(body):
    with pytest.raises(Problem, match="request-invalid"):
        parse_pause(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_run_or_a_problem(body):
    try:
        told = parse_run(body).input
    except Problem as problem:
        told = problem.code

    assert told
