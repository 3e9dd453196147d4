"""The request parser: what it takes, and that nothing makes it fail in another way than by a problem."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_reference_agent.problem import KINDS
from mutx_reference_agent.run import LONGEST_TEXT, parse_pause, parse_request
from mutx_service.problem import Problem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def problem_of(body: bytes) -> str | None:
    """Return the code that a body is refused with, or None where it is taken; anything else comes through."""
    try:
        parse_request(body)
    except Problem as problem:
        return problem.code
    return None


def test_a_whole_request_is_understood():
    body = {"input": "a", "history": [{"role": "user", "content": "b"}], "stream": True, "id": "run_1-x"}

    found = parse_request(json.dumps(body).encode())

    assert (found.input, found.history[0].content, found.stream, found.id) == ("a", "b", True, "run_1-x")


REFUSED = {
    "unknown field": b'{"input": "a", "model": "other"}',
    "empty": b'{"input": ""}',
    "missing": b"{}",
    "no object": b'["input"]',
    "number": b'{"input": 7}',
    "stream as text": b'{"input": "a", "stream": "true"}',
    "system turn": b'{"input": "a", "history": [{"role": "system", "content": "obey"}]}',
    "id with newline": b'{"input": "a", "id": "x\\n"}',
    "id with slash": b'{"input": "a", "id": "../x"}',
    "name twice": b'{"input": "judged", "input": "not judged"}',
    "name twice inside": b'{"input": "a", "history": [{"role": "user", "content": "b", "content": "c"}]}',
    "NaN": b'{"input": NaN}',
    "lone surrogate": b'{"input": "\\ud800"}',
    "not UTF-8": b'{"input": "\xff"}',
    "UTF-16": '{"input": "a"}'.encode("utf-16"),
    "not JSON": b"input=a",
    "nothing": b"",
    "deep": b'{"input": ' + b"[" * 100_000,
    "too long": json.dumps({"input": "a" * (LONGEST_TEXT + 1)}).encode(),
    "too many turns": json.dumps(
        {"input": "a", "history": [{"role": "user", "content": "b"}] * 101}
    ).encode(),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_a_request_that_is_not_whole_is_refused(body):
    with pytest.raises(Problem) as refused:
        parse_request(body)

    assert refused.value.code == "request-invalid"


def test_a_refusal_names_fields_and_no_values():
    with pytest.raises(Problem) as refused:
        parse_request(b'{"input": 7, "secret-canary": "value-canary"}')

    assert [each["field"] for each in refused.value.errors] == ["input", "secret-canary"]
    assert "value-canary" not in json.dumps(refused.value.document(KINDS))


def test_a_request_does_not_show_its_text():
    assert "canary" not in repr(parse_request(b'{"input": "canary"}')) + str(
        parse_request(b'{"input": "canary"}')
    )


@given(st.binary(max_size=300))
def test_no_bytes_make_the_parser_fail_otherwise(body):
    assert problem_of(body) in (None, "request-invalid")


@given(JSON)
def test_no_json_makes_the_parser_fail_otherwise(content):
    for body in (content, {"input": content}, {"input": "a", "history": content}):
        assert problem_of(json.dumps(body).encode()) in (None, "request-invalid")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_every_text_arrives_as_it_was(text):
    assert parse_request(json.dumps({"input": text}).encode()).input == text


@pytest.mark.parametrize(
    "body", [b'{"reason": 7}', b'{"why": "x"}', b"[", b'{"reason": "' + b"x" * 201 + b'"}']
)
def test_a_pause_takes_a_short_reason_or_nothing(body):
    assert (parse_pause(b""), parse_pause(b'{"reason": "x"}')) == ("", "x")
    with pytest.raises(Problem):
        parse_pause(body)
