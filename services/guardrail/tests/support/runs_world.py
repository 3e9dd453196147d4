"""Runs without sockets: the real pipeline with stand-in models, and an agent that is a function."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
from fake_parts import parts_with, pipeline_of
from mutx_guardrail.anomaly.memory import MemoryStore
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.policy import Policy
from mutx_guardrail.runs.agents import Agents
from mutx_guardrail.runs.pause import Pauses
from mutx_guardrail.runs.request import RunRequest
from mutx_guardrail.runs.run import Runs
from mutx_guardrail.service.judging import Judging
from mutx_guardrail.service.metrics import Metrics
from mutx_guardrail.service.settings import AgentAddress, Settings
from mutx_service.trace import SpanContext

PARENT = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
SETTINGS = Settings(agents={"a": AgentAddress("a.internal", "http://127.0.0.1:9")}, run_s=5.0)

Handler = Callable[[httpx2.Request], "httpx2.Response"]


class Pieces(httpx2.AsyncByteStream):
    """A body in pieces; `was_closed` once nobody reads on."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces, self.was_closed = pieces, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        self.was_closed = True


@dataclass
class Agent:
    """An agent with a pause, that answers runs as it is told; `runs` are the bodies it was sent."""

    answer: Handler
    runs: list[dict[str, Any]] = field(default_factory=list)
    pause: dict[str, Any] = field(default_factory=lambda: {"paused": False})
    is_gone: bool = False
    calls: list[str] = field(default_factory=list)

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.calls.append(f"{request.method} {request.url.path}")
        if self.is_gone:
            raise httpx2.ConnectError("gone", request=request)
        if request.url.path == "/v1/pause":
            return self._paused(request)
        if self.pause["paused"]:
            return problem(409, "agent-paused")
        self.runs.append(json.loads(request.content))
        return self.answer(request)

    def _paused(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "PUT":
            self.pause = {"paused": True, "since": "2026-11-30T10:00:00+00:00", "by": "guard.internal",
                          "reason": json.loads(request.content)["reason"]}  # fmt: skip
        if request.method == "DELETE":
            self.pause = {"paused": False}
        return reply(200, self.pause)


@dataclass
class World:
    agent: Agent
    judging: Judging
    pauses: Pauses
    runs: Runs
    slept: list[float]

    async def run(self, text: str = "hello", emit: Any = None, **more: Any) -> dict[str, Any]:
        request = RunRequest.model_validate({"input": text, "stream": emit is not None, **more})
        return await self.runs.perform("a", "r1", request, PARENT, emit)

    def state(self):
        return self.judging.anomaly.state("a", self.judging.policy().anomaly)


def a_world(
    answer: Handler | None = None,
    policy: dict[str, Any] | None = None,
    store: MemoryStore | None = None,
    **parts: Any,
) -> World:
    agent = Agent(answer or says("fine"))
    held = Policy.model_validate(policy or {})
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    anomaly = Anomaly(MemoryStore() if store is None else store, lambda _event: None)
    judging = Judging(
        pipeline_of(held, **parts), lambda: held, anomaly, parts_with(**parts), None, Metrics(),
        on_paused=lambda name: pauses.ask(name),  # noqa: PLW0108 - it is made below
    )  # fmt: skip
    agents = Agents(SETTINGS, lambda: httpx2.MockTransport(agent.handle))
    pauses = Pauses(agents, judging, sleep)
    return World(agent, judging, pauses, Runs(judging, agents, pauses, SETTINGS.run_s), slept)


def completed(output: object, run: str = "r1", **changed: object) -> dict[str, object]:
    return {
        "id": run, "status": "completed", "trace_id": "x", "output": output, "steps": 1, "input_tokens": 3,
        "output_tokens": 4, **changed,
    }  # fmt: skip


def says(output: object, **changed: object) -> Handler:
    return lambda _request: reply(200, completed(output, **changed))


def problem(status: int, code: str) -> httpx2.Response:
    return reply(status, {"code": code, "detail": "canary"}, "application/problem+json")


def reply(status: int, document: object, media: str = "application/json") -> httpx2.Response:
    content = Pieces([json.dumps(document).encode()])
    return httpx2.Response(status, headers={"content-type": media}, stream=content)


def streams(*events: tuple[str, dict[str, object]]) -> Handler:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        lines = [f"event: {name}\ndata: {json.dumps(document)}\n\n".encode() for name, document in events]
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Pieces(lines))

    return answer
