"""The wire, end to end: llama.cpp's server with a model whose answer and probabilities are known.

What a model judges is not tried here (none that judges ran); that the two understand each other is.
"""

from __future__ import annotations

import asyncio
import json

import llama_server
import pytest
import tiny_model
from judging import NONCE, a_document, some_settings
from mutx_guardrail.judge.family import Direction
from mutx_guardrail.judge.judge import Judge
from mutx_guardrail.judge.settings import FamilyName
from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.verdict import CheckName

INJECTION, TOXIC, SAFE = CheckName.PROMPT_INJECTION, CheckName.TOXIC_CONTENT, CheckName.SAFE_CONTENT


@pytest.fixture
def ask(tmp_path):
    """Return a function: what a model of some pieces says of a text; the whole pieces of a real server in between."""

    def run(family, pieces, text="hello", direction=Direction.INPUT, *, what="judge", **changes):
        model = tiny_model.write_model(tmp_path / "model.gguf", pieces)

        async def call(url: str):
            judge = Judge(some_settings(url=url, family=family, timeout_s=20, **changes), nonce=lambda: NONCE)
            try:
                return await (judge.probe() if what == "probe" else judge.judge(a_document(text), direction))
            finally:
                await judge.aclose()

        with llama_server.serving(model, tmp_path / "server.log") as url:
            return asyncio.run(call(url))

    return run


def scores(signals) -> dict[CheckName, float]:
    return {check: signal.score for check, signal in signals.items()}


def test_qwen3guard_s_label_comes_with_its_probability(ask):
    label = {" Unsafe": 0.6, " Safe": 0.3, " Controversial": 0.1}

    signals = ask(FamilyName.QWEN3GUARD, ["Safety:", label, "\nCategories:", " Jailbreak"])

    assert scores(signals) == pytest.approx({INJECTION: 0.66, TOXIC: 0.05}, abs=0.001)
    assert signals[INJECTION].findings[0].rule == "qwen3guard: Jailbreak"


def test_granite_guardian_s_score_comes_with_its_probability(ask):
    pieces = ["<think>", "\n", "</think>", "\n<score>", {" no": 0.8, " yes": 0.2}, " </score>"]

    signals = ask(FamilyName.GRANITE_GUARDIAN, pieces)

    assert scores(signals) == pytest.approx({INJECTION: 0.2, TOXIC: 0.2}, abs=0.001)


def test_llama_guard_s_verdict_comes_with_its_probability(ask):
    signals = ask(
        FamilyName.LLAMA_GUARD, ["\n\n", {"unsafe": 0.9, "safe": 0.1}, "\nS1"], direction=Direction.OUTPUT
    )

    assert scores(signals) == pytest.approx({SAFE: 0.9}, abs=0.001)


def test_an_instruct_model_answers_the_schema_s_object(ask):
    answer = {"nonce": NONCE, "prompt_injection": 91, "toxic_content": 4}

    signals = ask(FamilyName.INSTRUCT, [json.dumps(answer)])

    assert scores(signals) == pytest.approx({INJECTION: 0.91, TOXIC: 0.04}, abs=0.001)


def test_an_instruct_model_that_does_not_know_the_nonce_has_not_judged(ask):
    answer = {"nonce": "another", "prompt_injection": 0, "toxic_content": 0}

    with pytest.raises(LayerUnavailable, match="nonce"):
        ask(FamilyName.INSTRUCT, [json.dumps(answer)])


def test_a_model_that_never_ends_is_cut_off_and_has_not_judged(ask):
    with pytest.raises(LayerUnavailable, match="end"):
        ask(FamilyName.LLAMA_GUARD, ["safe "] * 3 + [f"{number} " for number in range(50)])


def test_a_text_longer_than_the_server_s_context_has_not_been_judged(ask):
    # One token for each byte of it: past 8192.
    with pytest.raises(LayerUnavailable, match="400"):
        ask(FamilyName.LLAMA_GUARD, ["safe"], text="é" * 6_000)


def test_a_long_text_is_judged_window_by_window(ask):
    signals = ask(FamilyName.LLAMA_GUARD, ["safe"], text="word " * 2_000, window_chars=2_000)

    assert scores(signals) == pytest.approx({TOXIC: 0}, abs=0.001)


def test_readiness_sees_the_model_that_is_served(ask):
    assert ask(FamilyName.LLAMA_GUARD, ["safe"], what="probe").is_ready


def test_readiness_misses_a_model_that_is_not_served(ask):
    readiness = ask(FamilyName.LLAMA_GUARD, ["safe"], what="probe", model="another")

    assert (readiness.is_ready, readiness.why) == (False, "the server does not have the model")
