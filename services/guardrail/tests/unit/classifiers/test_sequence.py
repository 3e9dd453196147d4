"""A model that a deployment sets in: loaded whole or not at all, and asked about each window of a text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from guard_documents import document_of
from hypothesis import given, settings
from hypothesis import strategies as st
from mutx_guardrail.classifiers.sequence import SequenceDetector, load_sequence
from mutx_guardrail.document import OffsetMap, View
from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.verdict import CheckName, Layer, Span
from tiny_classifier import tiny_graph, write_folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> SequenceDetector:
    return load_sequence(write_folder(tmp_path_factory.mktemp("tiny"), tiny_graph()))


def refusal(folder: Path) -> str:
    with pytest.raises(LayerUnavailable) as caught:
        load_sequence(folder)
    assert caught.value.layer is Layer.CLASSIFIER
    return caught.value.why


def test_the_score_is_the_likelihood_of_the_attacks_label(detector):
    signal = detector.judge(document_of("calm attack calm"))

    assert signal.score == pytest.approx(1 / (1 + math.exp(-4)), abs=1e-6)
    assert [finding.span for finding in signal.findings] == [Span(0, 16)]
    assert signal.findings[0].kind == CheckName.PROMPT_INJECTION
    assert signal.findings[0].rule == "tiny"


def test_a_calm_text_scores_near_nothing_and_has_no_findings(detector):
    signal = detector.judge(document_of("calm calm calm"))

    assert signal.score < 0.01
    assert not signal.findings


def test_an_attack_behind_a_thousand_words_is_found_in_its_own_window(detector):
    text = "calm " * 1_000 + "attack"

    signal = detector.judge(document_of(text))

    assert signal.score > 0.9
    assert all(finding.span.end == len(text) for finding in signal.findings)
    assert all(finding.span.start > len(text) - 100 for finding in signal.findings)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(["calm", "attack", "other", "\u4f60\u597d"]), max_size=60))
def test_an_attack_is_found_wherever_it_is_and_nowhere_else(detector, words):
    text = " ".join(words)

    signal = detector.judge(document_of(text))

    assert (signal.score > 0.5) == ("attack" in words)
    for finding in signal.findings:
        assert "attack" in text[finding.span.start : finding.span.end]


def test_a_text_with_nothing_to_read_scores_nothing(detector):
    assert detector.judge(document_of(" \n")).score == 0.0


def test_a_decoded_reading_is_judged_too(detector):
    decoded = View("base64", "attack", OffsetMap.constant(6, Span(5, 9)))

    signal = detector.judge(document_of("calm YXR0 calm", decoded))

    assert [(finding.view, finding.span) for finding in signal.findings] == [("base64", Span(5, 9))]


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = write_folder(tmp_path, tiny_graph())
    (folder / name).unlink()

    assert name in refusal(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_changed_file_is_refused(tmp_path, name):
    folder = write_folder(tmp_path, tiny_graph())
    with (folder / name).open("ab") as file:
        file.write(b" ")

    assert "not the file that the manifest names" in refusal(folder)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"attack": ["unknown"]}, "unknown label"),
        ({"files": {}}, "no model"),
        ({"labels": ["one"]}, "no manifest"),
        ({"max_length": 4}, "no manifest"),
        ({"surplus": True}, "no manifest"),
    ],
    ids=["unknown label", "no files", "one label", "too short", "unknown field"],
)
def test_a_manifest_that_does_not_say_what_it_must_is_refused(tmp_path, fields, why):
    assert why in refusal(write_folder(tmp_path, tiny_graph(), **fields))


def test_a_graph_that_is_none_is_refused(tmp_path):
    assert "cannot be loaded" in refusal(write_folder(tmp_path, b"no graph"))


def test_a_graph_with_an_input_that_is_not_known_is_refused(tmp_path):
    graph = tiny_graph(inputs=("input_ids", "pixel_values"))

    assert "pixel_values" in refusal(write_folder(tmp_path, graph))


def test_a_model_that_answers_with_fewer_labels_than_its_manifest_is_unavailable(tmp_path):
    detector = load_sequence(write_folder(tmp_path, tiny_graph(labels=1)))

    with pytest.raises(LayerUnavailable, match="one finite number a label"):
        detector.judge(document_of("calm"))
