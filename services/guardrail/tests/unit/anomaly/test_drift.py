"""The distance from purpose and recent outputs."""

from __future__ import annotations

import numpy as np
import pytest
from anomaly_contract import Clock
from mutx_guardrail.anomaly.drift import WARM_UP, Drift, NoDirection, measure_drift
from mutx_guardrail.anomaly.memory import MemoryStore
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Anomaly as Limits
from mutx_guardrail.verdict import Layer

AXES = np.eye(384, dtype=np.float32)
PURPOSE, OTHER, THIRD = AXES[:3]
THRESHOLD = 0.65


@pytest.fixture
def store():
    return MemoryStore(clock=Clock().now)


def near(axis, generator) -> np.ndarray:
    return (axis + generator.normal(0, 0.02, 384)).astype(np.float32)


def warm(store, axis=PURPOSE, purpose=PURPOSE) -> None:
    generator = np.random.default_rng(7)
    for _ in range(WARM_UP):
        measure_drift(store, "a", near(axis, generator), purpose, THRESHOLD)


def follow(store, axis, count=1, purpose=PURPOSE) -> list[Drift]:
    return [measure_drift(store, "a", axis, purpose, THRESHOLD) for _ in range(count)]


def test_an_output_of_the_purpose_is_near(store):
    warm(store)

    assert follow(store, PURPOSE)[0].distance < 0.05


def test_one_output_of_something_else_is_not_told_and_a_run_is(store):
    warm(store)

    told = [drift.exceeds(THRESHOLD) for drift in follow(store, OTHER, 6)]

    assert (told[0], told[5]) == (False, True)


def test_nothing_is_told_before_the_warm_up_is_over(store):
    drifts = follow(store, OTHER, WARM_UP + 1)

    assert [drift.is_warm for drift in drifts] == [False] * WARM_UP + [True]


def test_half_of_the_expectation_is_the_purpose_which_stays(store):
    warm(store, axis=OTHER)

    assert follow(store, OTHER, 10)[-1].distance == pytest.approx(1 - 0.5**0.5, abs=0.05)


def test_a_run_of_outputs_of_something_else_goes_on_being_told(store):
    warm(store)
    follow(store, OTHER, 6)

    assert all(drift.exceeds(THRESHOLD) for drift in follow(store, OTHER, 50))


def test_an_agent_that_returns_to_its_purpose_is_near_again(store):
    warm(store)
    follow(store, OTHER, 20)

    assert follow(store, PURPOSE, 10)[-1].distance < 0.1


def test_without_a_purpose_what_it_used_to_write_stands_alone(store):
    warm(store, purpose=None)

    near_by = follow(store, PURPOSE, purpose=None)[0]
    far = follow(store, THIRD, 9, purpose=None)[-1]

    assert (near_by.exceeds(THRESHOLD), far.exceeds(THRESHOLD)) == (False, True)


def test_the_length_of_an_embedding_says_nothing(store):
    warm(store)

    assert follow(store, 1000 * PURPOSE)[0].distance < 0.05


def test_the_opposite_is_as_far_as_it_gets(store):
    warm(store)

    assert follow(store, -PURPOSE, 10)[-1].distance == 1


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_an_embedding_of_no_numbers_is_not_judged(store, value):
    broken = np.full(384, value, dtype=np.float32)

    with pytest.raises(NoDirection):
        measure_drift(store, "a", broken, PURPOSE, THRESHOLD)
    check = Anomaly(store, print).observe("a", 1, Limits(), ok=True, embedding=broken)[2]

    assert (check.passed, check.unavailable) == (False, (Layer.ANOMALY,))


def test_an_empty_output_has_no_direction_and_passes(store):
    nothing = np.zeros(384, dtype=np.float32)

    check = Anomaly(store, print).observe("a", 0, Limits(), ok=True, embedding=nothing, purpose=PURPOSE)[2]

    assert (check.passed, check.unavailable) == (True, ())


def test_another_model_s_embeddings_begin_anew(store):
    warm(store)
    other_model = np.ones(8, dtype=np.float32)

    drift = measure_drift(store, "a", other_model, other_model, THRESHOLD)

    assert (drift.is_warm, drift.distance) == (False, pytest.approx(0, abs=1e-6))


def test_a_purpose_of_another_model_is_refused(store):
    with pytest.raises(ValueError, match="equally long"):
        measure_drift(store, "a", PURPOSE, np.ones(8, dtype=np.float32), THRESHOLD)


def test_the_state_takes_less_than_two_kibibytes(store):
    warm(store)
    kept = []

    store.change("drift:a", lambda before, _now: (kept.append(before), _change(before))[1], is_vital=False)

    assert len(kept[0]) < 2048


def _change(before):
    from mutx_guardrail.anomaly.store import Change  # noqa: PLC0415

    return Change(before, 1, None)
