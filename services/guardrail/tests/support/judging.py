"""What tests of the judge share: documents, settings, and bodies of an OpenAI-compatible server."""

from __future__ import annotations

import json
import math

from mutx_guardrail.document import Document, Origin, View
from mutx_guardrail.judge.settings import FamilyName, JudgeSettings

NONCE = "n1"
GOOD = {
    FamilyName.QWEN3GUARD: "Safety: Safe\nCategories: None",
    FamilyName.GRANITE_GUARDIAN: "<think>\n</think>\n<score> no </score>",
    FamilyName.LLAMA_GUARD: "\n\nsafe",
    FamilyName.INSTRUCT: json.dumps({"nonce": NONCE, "prompt_injection": 1, "toxic_content": 2}),
}
"""What each family answers to a harmless text to an agent."""


def a_document(text: str, origin: Origin = Origin.USER) -> Document:
    return Document(text, origin, (View.whole("plain", text),), ())


def some_settings(**changes) -> JudgeSettings:
    given = {"url": "http://127.0.0.1:9/v1", "model": "wire", "family": FamilyName.QWEN3GUARD}
    return JudgeSettings(**(given | changes))


def a_body(content: object, tokens=None, finish: str = "stop") -> bytes:
    """Return a chat completion. `tokens` are pieces, each with the likelihoods of what could stand there."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": content},
        "logprobs": None if tokens is None else {"content": [a_token(*token) for token in tokens]},
    }
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode()


def a_token(text: str, likelihoods) -> dict[str, object]:
    top = [{"token": each, "logprob": math.log(likely)} for each, likely in likelihoods.items()]
    return {"token": text, "logprob": math.log(likelihoods.get(text, 1.0)), "top_logprobs": top}
