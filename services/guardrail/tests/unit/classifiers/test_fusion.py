"""Patterns and classifier become one likelihood, or either speaks alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_guardrail.classifiers import Classifiers
from mutx_guardrail.classifiers.calibration import Calibration, Fused, sigmoid
from mutx_guardrail.classifiers.fusion import Fusion
from mutx_guardrail.layer import Signal
from mutx_guardrail.verdict import CheckName, Finding, Layer, Span

CHECK = CheckName.PROMPT_INJECTION
FUSION = Fusion(
    {CHECK: Fused(threshold=0.5, thresholds={"0.01": 0.5}, classifier=0.8, patterns=3.0, offset=-1.0)}
)
SCORES = st.floats(0, 1)


def signal_of(layer: Layer, score: float) -> Signal:
    return Signal(layer, score, (Finding(CHECK, Span(0, 4), score, layer),))


@given(SCORES, SCORES, SCORES)
def test_more_of_either_never_makes_it_less_likely(low, high, other):
    low, high = sorted((low, high))

    def fuse(patterns: float, classifier: float) -> float:
        return FUSION.fuse(
            CHECK, signal_of(Layer.PATTERNS, patterns), signal_of(Layer.CLASSIFIER, classifier)
        ).score

    assert 0 <= fuse(low, other) <= fuse(high, other) <= 1
    assert 0 <= fuse(other, low) <= fuse(other, high) <= 1


def test_the_findings_of_both_are_told():
    patterns, classifier = signal_of(Layer.PATTERNS, 0.9), signal_of(Layer.CLASSIFIER, 0.7)

    assert FUSION.fuse(CHECK, patterns, classifier).findings == patterns.findings + classifier.findings


@pytest.mark.parametrize("layer", [Layer.PATTERNS, Layer.CLASSIFIER])
def test_one_that_is_switched_off_leaves_the_other_as_it_is(layer):
    signal = signal_of(layer, 0.3)

    patterns, classifier = (signal, None) if layer is Layer.PATTERNS else (None, signal)
    assert FUSION.fuse(CHECK, patterns, classifier) is signal


def test_two_that_are_switched_off_say_nothing_rather_than_that_all_is_well():
    with pytest.raises(ValueError, match="no layer judged"):
        FUSION.fuse(CHECK, None, None)


def test_the_built_in_model_joins_both_checks(classifiers: Classifiers):
    for check in (CheckName.PROMPT_INJECTION, CheckName.TOXIC_CONTENT):
        sure = classifiers.fusion.fuse(
            check, signal_of(Layer.PATTERNS, 0.95), signal_of(Layer.CLASSIFIER, 0.999)
        )
        unsure = classifiers.fusion.fuse(
            check, signal_of(Layer.PATTERNS, 0.0), signal_of(Layer.CLASSIFIER, 0.001)
        )

        assert sure.score >= classifiers.fusion.threshold(check) > unsure.score


@given(st.floats(-1e6, 1e6), st.integers(0, 10_000))
def test_a_likelihood_is_one_for_any_number_and_grows_with_it(raised, windows):
    calibration = Calibration(threshold=0.5, thresholds={}, slope=1.0, spread=-0.1, offset=0.0)

    assert 0 <= calibration.likelihood(raised, windows) <= calibration.likelihood(raised + 1, windows) <= 1
    assert sigmoid(0) == 0.5
