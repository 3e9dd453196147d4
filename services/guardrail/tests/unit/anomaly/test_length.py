"""The normal length of an agent's outputs: exact at the threshold, and hard to drag."""

from __future__ import annotations

import pytest
from anomaly_contract import Clock
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.anomaly.length import WINDOW, measure_output
from mutx_guardrail.anomaly.memory import MemoryStore
from mutx_guardrail.policy import Anomaly as Limits

LIMITS = Limits()


@pytest.fixture
def store():
    return MemoryStore(clock=Clock().now)


def learn(store, *lengths: int, limits: Limits = LIMITS) -> list[bool]:
    return [measure_output(store, "a", each, limits).exceeds(limits.output_factor) for each in lengths]


def normal(store) -> float:
    return measure_output(store, "a", 0, LIMITS).normal


@pytest.mark.parametrize(
    ("base", "tokens", "flagged"),
    [
        (100, 1000, False),
        (100, 1010, True),
        (1, 10, False),
        (1, 11, True),
        (30, 300, False),
        (30, 303, True),
        (999_983, 9_999_830, False),
        (999_983, 9_999_831, True),
    ],
)
def test_the_threshold_is_exact_at_any_length(store, base, tokens, flagged):
    learn(store, *[base] * 20)

    assert learn(store, tokens) == [flagged]


def test_a_factor_of_the_policy_is_exact_too(store):
    limits = Limits(output_factor=10.1)
    learn(store, *[10] * 20, limits=limits)

    assert learn(store, 101, 102, limits=limits) == [False, True]


def test_nothing_is_flagged_before_the_warm_up_is_over(store):
    learn(store, *[10] * 19)

    assert learn(store, 100_000, 100_000) == [False, True]


def test_empty_outputs_are_not_learned(store):
    learn(store, *[0] * 100)

    assert learn(store, 5) == [False]
    assert measure_output(store, "a", 5, LIMITS).seen == 1


def test_one_enormous_output_in_the_warm_up_does_not_hide_the_next(store):
    learn(store, 10**9, *[10] * 19)

    assert learn(store, 101) == [True]


def test_fifty_outputs_just_below_the_threshold_do_not_move_the_normal(store):
    learn(store, *[100] * WINDOW)

    learn(store, *[1000] * 50)

    assert normal(store) == 100


def test_the_normal_doubles_no_faster_than_every_fifty_one_outputs(store):
    learn(store, *[100] * WINDOW)

    learn(store, *[10**6] * 102)

    assert normal(store) <= 400


def test_an_agent_that_really_writes_more_is_no_longer_flagged_after_a_while(store):
    learn(store, *[10] * WINDOW)

    flagged = learn(store, *[200] * 200)

    assert (flagged[0], flagged[-1]) == (True, False)


@given(st.lists(st.integers(0, 2**40), max_size=150))
def test_the_normal_lies_among_what_was_seen(lengths):
    store = MemoryStore(clock=Clock().now)

    learn(store, *lengths)

    positive = [each for each in lengths if each]
    low, high = min(positive, default=0), max(positive, default=0)
    assert normal(store) == 0 or min(low, 2**32 - 1) <= normal(store) <= high


def test_a_negative_length_is_refused(store):
    with pytest.raises(ValueError, match="tokens"):
        measure_output(store, "a", -1, LIMITS)
