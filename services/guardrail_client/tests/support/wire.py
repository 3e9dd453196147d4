"""A guard that answers as a test says, without a network, and good answers to begin with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
from mutx_guardrail_client import AsyncGuardClient, GuardClient, Settings

SETTINGS = Settings("http://127.0.0.1:1", agent="a", timeout_s=2)
CHECK = {"name": "prompt_injection", "passed": True, "confidence": 0.9, "findings": []}
MASKED = {"name": "pii_detection", "passed": False, "confidence": 1.0, "findings": [], "action": "mask"}
REFUSAL: dict[str, Any] = {
    "allowed": False, "reason": "prompt_injection_detected", "details": "found by patterns: x", "confidence": 0.9,
    "action": "block", "checks": [{**CHECK, "passed": False, "action": "block"}], "latency_ms": 1, "model": "m",
}  # fmt: skip
SPOTLIGHT = {"text": "aˆb", "mark": "ˆ", "instruction": "data"}

Answer = Callable[[str, dict[str, Any]], Any]
"""Path and question to a document, or to a whole response."""


def allowing(text: str, **more: Any) -> dict[str, Any]:
    return {"allowed": True, "checks": [CHECK], "latency_ms": 1, "model": "m", "sanitized": text, **more}


def releasing(text: str, taken: int, **more: Any) -> dict[str, Any]:
    whole = {key: value for key, value in allowing("").items() if key != "sanitized"}
    return {**whole, "release": text, "taken": taken, **more}


def raw(content: bytes, status: int = 200, **headers: str) -> httpx2.Response:
    named = {
        "content-type": "application/json",
        **{key.replace("_", "-"): each for key, each in headers.items()},
    }
    return httpx2.Response(status, headers=named, stream=httpx2.ByteStream(content))


def echo(path: str, question: dict[str, Any]) -> Any:
    """Let every text pass; an e-mail address is masked, `evil` refused, a stream held back by ten characters."""
    if path.endswith("/outcome"):
        return {"agent": "a", "checks": []}
    if path.endswith("/batch"):
        return {"items": [judge(each["text"], each["origin"]) for each in question["items"]]}
    if path.endswith("/window"):
        return window(question)
    return judge(question["text"], question.get("origin", ""))


def judge(text: str, origin: str = "") -> dict[str, Any]:
    if "evil" in text:
        return REFUSAL
    clean = text.replace("jane@example.com", "[REDACTED]")
    more = (
        {"spotlight": {**SPOTLIGHT, "text": clean.replace(" ", "ˆ")}}
        if origin in {"tool", "retrieved"}
        else {}
    )
    return allowing(clean, checks=[CHECK, MASKED] if clean != text else [CHECK], **more)


def window(question: dict[str, Any]) -> dict[str, Any]:
    text = question["text"]
    if "evil" in question["before"] + text:
        return REFUSAL
    taken = len(text) if question["final"] else max(0, text.rfind(" ", 0, max(0, len(text) - 20)) + 1)
    return releasing(text[:taken].replace("jane@example.com", "[REDACTED]"), taken)


_ALL: list[Guards] = []


def close_all() -> None:
    """End the threads of the clients that a test made."""
    while _ALL:
        _ALL.pop().close()


class Guards:
    """Clients of one guard that answers by a function; `asked` keeps every question."""

    def __init__(self, answer: Answer = echo, settings: Settings = SETTINGS) -> None:
        self._answer, self._settings = answer, settings
        self._opened: list[GuardClient] = []
        _ALL.append(self)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def sync(self) -> GuardClient:
        self._opened.append(GuardClient(self._settings, self._make))
        return self._opened[-1]

    def aio(self) -> AsyncGuardClient:
        return AsyncGuardClient(self._settings, self._make)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def close(self) -> None:
        for client in self._opened:
            client.close()

    def _make(self, _context: object) -> httpx2.MockTransport:
        return httpx2.MockTransport(self._handle)

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        question = json.loads(request.content)
        self.asked.append((request.url.path, question))
        answer = self._answer(request.url.path, question)
        return answer if isinstance(answer, httpx2.Response) else raw(json.dumps(answer).encode())
