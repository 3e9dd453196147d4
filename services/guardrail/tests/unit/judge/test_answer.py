"""A server's response is read strictly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import a_body, a_token
from mutx_guardrail.judge.answer import Unreadable, read_answer, read_models
from mutx_guardrail.judge.confidence import Calibration, label_likelihoods

MESSAGE = {"role": "assistant", "content": "safe"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"error": {"message": "out of memory"}}',
        b"\xff\xfe",
        b"[" * 100_000,
        a_body(None),
        a_body(["safe"]),
        a_body("safe", finish="length"),
        a_body("safe", finish="content_filter"),
        a_body("x" * 4_001),
        json.dumps({"choices": [{"finish_reason": "stop", "message": MESSAGE}] * 2}).encode(),
        json.dumps({"choices": [{"message": MESSAGE}]}).encode(),
        json.dumps({"choices": [{"finish_reason": "stop", "message": MESSAGE, "logprobs": 1}]}).encode(),
        json.dumps(
            {"choices": [{"finish_reason": "stop", "message": MESSAGE, "logprobs": {"content": [1]}}]}
        ).encode(),
        a_body("safe").replace(b"null", b"NaN"),
        a_body("safe") + b"{}",
    ],
    ids=lambda body: repr(body[:60]),
)
def test_what_is_no_finished_completion_is_unreadable(body):
    with pytest.raises(Unreadable) as caught:
        read_answer(body)

    assert "safe" not in caught.value.why


@given(st.binary(max_size=200))
def test_random_bytes_are_unreadable(body):
    with pytest.raises(Unreadable):
        read_answer(body)


def test_a_completion_s_text_and_probabilities_are_read():
    answer = read_answer(a_body("safe", [["safe", {"safe": 0.5, "unsafe": 0.5}]]))

    assert (answer.text, answer.joined) == ("safe", "safe")
    assert set(answer.tokens[0].alternatives) == {"safe", "unsafe"}


def test_models_are_read_by_name():
    assert read_models(b'{"object": "list", "data": [{"id": "a"}, {"id": 1}, 2]}') == ("a",)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"data": {}}', b"no"])
def test_what_is_no_list_of_models_is_unreadable(body):
    with pytest.raises(Unreadable):
        read_models(body)


def tokens(*pieces):
    return read_answer(a_body("safe", pieces)).tokens


@pytest.mark.parametrize(
    ("pieces", "start", "likely"),
    [
        ([["safe", {"safe": 0.8, "unsafe": 0.2}]], 0, 0.2),
        ([["sa", {"sa": 0.8, "uns": 0.2}], ["fe", {}]], 0, 0.2),
        ([["\n\nsafe", {"\n\nsafe": 0.6, "\n\nunsafe": 0.2}]], 2, 0.25),
        ([["safe", {"safe": 0.5, "Sorry": 0.5}]], 0, 0.0),
    ],
    ids=["whole", "in pieces", "with what stands before", "with a stranger"],
)
def test_likelihoods_are_shares_among_the_labels(pieces, start, likely):
    shares = label_likelihoods(tokens(*pieces), start, ("safe", "unsafe"))

    assert shares["unsafe"] == pytest.approx(likely)


@pytest.mark.parametrize(("pieces", "start"), [([], 0), ([["Hm", {"Hm": 1.0}]], 0), ([["safe", {}]], 9)])
def test_tokens_that_do_not_say_give_none(pieces, start):
    assert label_likelihoods(tokens(*pieces), start, ("safe", "unsafe")) is None


@given(st.floats(0, 1))
def test_the_default_calibration_changes_nothing(likelihood):
    assert Calibration().apply(likelihood) == pytest.approx(likelihood, abs=2e-6)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 100), st.floats(-100, 100))
def test_a_calibration_keeps_the_order_and_the_range(one, other, slope, intercept):
    low, high = sorted((one, other))
    apply = Calibration(slope, intercept).apply

    assert 0 <= apply(low) <= apply(high) <= 1


def test_a_token_of_the_test_s_own_is_of_the_servers_form():
    assert a_token("a", {"a": 1.0}) == {
        "token": "a",
        "logprob": 0.0,
        "top_logprobs": [{"token": "a", "logprob": 0.0}],
    }
