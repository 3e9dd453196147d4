"""What a process is built of: other models by configuration, and what cannot be built says so."""

from __future__ import annotations

import asyncio

import pytest
from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.panel import Panel
from mutx_guardrail.parts import Broken, Models, build_parts
from mutx_guardrail.pipeline import Pipeline
from mutx_guardrail.policy import parse_policy
from mutx_guardrail.verdict import Layer
from tiny_classifier import tiny_graph, write_folder

LAYERS = (Layer.NORMALISE, Layer.PATTERNS, Layer.CLASSIFIER)


def test_another_classifier_judges_by_itself(tmp_path):
    parts = build_parts(LAYERS, models=Models(injection=write_folder(tmp_path, tiny_graph())))
    policy = parse_policy("{version: 1, layers: [normalise, patterns, classifier]}")

    async def judge(text):
        return await Pipeline(lambda: policy, Panel(parts)).input(text)

    calm, attack = asyncio.run(judge("calm calm calm")), asyncio.run(judge("calm attack calm"))

    assert parts.fusion is None
    assert calm.allowed is True
    assert attack.document()["reason"] == "prompt_injection_detected"
    assert attack.refusal is not None
    assert attack.refusal.findings[0].rule == "tiny"


def test_a_folder_that_holds_no_model_is_a_broken_layer(tmp_path):
    parts = build_parts(LAYERS, models=Models(injection=tmp_path))

    assert isinstance(parts.injection, Broken)
    assert parts.broken() == (Layer.CLASSIFIER,)


def test_a_layer_that_the_policy_leaves_out_is_not_built():
    parts = build_parts((Layer.NORMALISE, Layer.PATTERNS))

    assert (parts.injection, parts.names, parts.judge, parts.embed) == (None, None, None, None)
    assert parts.broken() == ()


def test_a_broken_layer_says_why():
    broken = Broken(Layer.NAMES, "its hash is another one")

    with pytest.raises(LayerUnavailable, match="its hash is another one"):
        broken.judge(None)
