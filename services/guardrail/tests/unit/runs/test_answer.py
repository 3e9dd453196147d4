"""What of an agent's words is understood, and what a caller is told of its failures."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.runs.answer import Completed, Delta, PauseState, ToolUse, parse_answer, problem_of
from mutx_guardrail.runs.refusal import speaks_for_agent
from mutx_guardrail.service.problems import KINDS, TOLD_ON
from mutx_service.problem import Problem

WRONG = {
    "a step that is no number": (Delta, {"step": "1", "text": "x"}),
    "a step below the first": (Delta, {"step": 0, "text": "x"}),
    "a text that is none": (Delta, {"step": 1, "text": None}),
    "a tool's name with blanks": (ToolUse, {"name": "the key is", "status": "ok"}),
    "a tool's name with a line's end": (ToolUse, {"name": "add\n", "status": "ok"}),
    "a pause since a sentence": (PauseState, {"paused": True, "since": "the key is"}),
    "a pause by markup": (PauseState, {"paused": True, "by": "<b>"}),
    "an end that is none": (Completed, {"id": "r", "status": "running", "output": "x"}),
    "no object": (Completed, []),
}


@pytest.mark.parametrize(("kind", "document"), WRONG.values(), ids=WRONG)
def test_what_has_not_the_form_is_malformed_and_not_quoted(kind, document):
    with pytest.raises(Problem) as raised:
        parse_answer(json.dumps(document).encode(), kind)

    assert (raised.value.code, raised.value.detail, raised.value.errors) == ("agent-malformed", "", ())


def test_fields_that_are_not_known_are_left_out():
    assert parse_answer(b'{"name": "add", "status": "ok", "input": "canary"}', ToolUse).model_dump() == {
        "name": "add", "status": "ok",
    }  # fmt: skip


@pytest.mark.parametrize("code", sorted(TOLD_ON))
def test_a_code_of_the_contract_is_told_on_with_its_status(code):
    told = problem_of(json.dumps({"code": code, "detail": "canary"}).encode(), TOLD_ON[code].status, "7")

    assert (told.code, told.detail, told.retry_after_s) == (code, "", 7)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b'{"code": "canary"}', 500, "agent-failed"),
        (b"canary", 503, "agent-failed"),
        (b'{"code": "agent-busy"}', 500, "agent-failed"),
        (b'{"code": "caller-refused"}', 403, "agent-malformed"),
        (b'{"code": "request-invalid"}', 422, "agent-malformed"),
        (b"", 301, "agent-malformed"),
        (b'{"code": "provider-failed"}', 0, "provider-failed"),
        (b'{"code": "canary"}', 0, "agent-failed"),
    ],
)
def test_any_other_failure_has_a_code_of_the_guard_s(content, status, code):
    assert problem_of(content, status).code == code


@pytest.mark.parametrize("value", ["", "soon", "-1", "9999999", "١", "1.5"])
def test_a_wait_that_is_no_number_of_seconds_is_not_told(value):
    assert problem_of(b'{"code": "agent-busy"}', 503, value).retry_after_s is None


def test_a_long_wait_is_told_as_an_hour():
    assert problem_of(b'{"code": "agent-busy"}', 503, "99999").retry_after_s == 3_600


def test_only_what_an_agent_answers_for_counts_against_it():
    against = {code for code in KINDS if speaks_for_agent(code) is False}

    assert against >= {
        "agent-timeout",
        "agent-unreachable",
        "output-refused",
        "provider-failed",
        "agent-busy",
    }
    assert not against & {
        "input-refused", "agent-paused", "agent-rate-limited", "caller-slow", "guard-degraded", "store-unavailable",
        "body-too-large", "defect", "sink-not-streamable",
    }  # fmt: skip


@given(st.binary(max_size=100), st.integers(0, 999), st.text(max_size=8))
def test_any_failure_is_a_problem_that_quotes_nothing(content, status, retry_after):
    told = problem_of(content, status, retry_after)

    assert told.code in KINDS
    assert told.detail == ""
