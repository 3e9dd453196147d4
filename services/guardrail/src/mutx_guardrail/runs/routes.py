"""The routes of runs and pauses: for the control plane alone, since no agent may run another one."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from mutx_service.answer import peer_of_request, problem_response
from mutx_service.body import read_body
from mutx_service.problem import Problem
from mutx_service.trace import SpanContext, parse_traceparent
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mutx_guardrail.runs.agents import Agents
from mutx_guardrail.runs.answer import PauseState
from mutx_guardrail.runs.pause import Pauses
from mutx_guardrail.runs.request import PauseRequest, RunRequest, parse_pause, parse_run
from mutx_guardrail.runs.run import Runs
from mutx_guardrail.runs.stream import CallerGone, stream_run, until_hung_up
from mutx_guardrail.service.callers import Callers
from mutx_guardrail.service.judging import Judging
from mutx_guardrail.service.openapi import described
from mutx_guardrail.service.problems import KINDS
from mutx_guardrail.service.settings import Settings

HUNG_UP = 499
_SMALL_BODY = 4_096
_ACCEPTED = 202


class RunRoutes:
    """Runs and pauses over HTTP. It admits, asks, and shapes the answer."""

    def __init__(
        self, settings: Settings, callers: Callers, judging: Judging, agents: Agents, pauses: Pauses
    ) -> None:
        self._settings, self._callers, self._judging = settings, callers, judging
        self._agents, self._pauses = agents, pauses
        self._runs = Runs(judging, agents, pauses, settings.run_s)
        self._running = 0

    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]], dict[str, Any]]]:
        """Return every route with its words for OpenAPI."""
        path = "/v1/agents/{agent}"
        return [
            ("POST", f"{path}/runs", self.run, described("Run an agent, judged both ways", RunRequest)),
            ("GET", f"{path}/pause", self.read_pause, described("Tell an agent's own pause")),
            ("PUT", f"{path}/pause", self.pause, described("Hold an agent, here and there", PauseRequest)),
            ("DELETE", f"{path}/pause", self.resume, described("Let an agent go on, there and here")),
        ]

    async def run(self, request: Request) -> Response:
        """Run an agent once, and answer whole or as a stream of events."""
        agent = self._agent(request)
        asked = parse_run(await read_body(request, self._settings.body_bytes, wants_json=True))
        if self._running >= self._settings.runs:
            raise Problem("guard-busy")
        parent = parse_traceparent(request.headers.get("traceparent"))
        parent = parent or SpanContext(secrets.token_hex(16), "")
        self._running += 1
        try:
            return await self._answer(request, agent, asked, parent)
        except Problem as problem:
            return problem_response(problem, KINDS, parent.trace_id)
        except CallerGone:
            return Response(status_code=HUNG_UP)

    async def _answer(self, request: Request, agent: str, asked: RunRequest, parent: SpanContext) -> Response:
        run_id = asked.id or secrets.token_hex(16)
        perform = partial(self._runs.perform, agent, run_id, asked, parent)
        if asked.stream:

            def tell_failure(problem: Problem) -> dict[str, object]:
                return {"id": run_id, **problem.document(KINDS, parent.trace_id)}

            return await stream_run(request, perform, tell_failure, self._give_back)
        try:
            return JSONResponse(await until_hung_up(request, perform()))
        finally:
            self._give_back()

    def _give_back(self) -> None:
        self._running -= 1

    async def read_pause(self, request: Request) -> Response:
        """Tell whether an agent is paused, by its own word and by the guard's."""
        agent = self._agent(request)
        return await self._told(agent, await self._pauses.read(agent))

    async def pause(self, request: Request) -> Response:
        """Hold an agent here, then ask it to pause; where it does not answer it is asked on in the background (202)."""
        agent = self._agent(request)
        reason = parse_pause(await read_body(request, _SMALL_BODY))
        await self._judging.hold(agent)
        try:
            paused = await self._pauses.set(agent, reason)
        except Problem:
            self._pauses.ask(agent, reason)
            return await self._told(agent, None, status=_ACCEPTED)
        return await self._told(agent, paused)

    async def resume(self, request: Request) -> Response:
        """Let an agent go on: first there, so that where it does not answer it stays held here."""
        agent = self._agent(request)
        paused = await self._pauses.clear(agent)
        await self._judging.resume(agent)
        return await self._told(agent, paused)

    async def _told(self, agent: str, paused: PauseState | None, status: int = 200) -> Response:
        """Return both pauses. The agent's reason is its own text, and so judged like any output."""
        state = await self._judging.state(agent)
        document: dict[str, object] = {"agent": agent, "guard": state.phase.name.lower(), "pause": None}
        if paused is not None:
            verdict = await self._judging.pipeline.output(paused.reason, agent) if paused.reason else None
            reason = verdict.sanitized if verdict is not None and verdict.allowed else ""
            document["pause"] = paused.model_dump() | {"reason": reason}
        return JSONResponse(document, status_code=status)

    def _agent(self, request: Request) -> str:
        """Return the agent of the path, which has to be one that this guard has a way to.

        Raises:
            Problem: `caller-refused`, `agent-unknown`.
        """
        self._callers.check_operator(peer_of_request(request))
        agent: str = request.path_params["agent"]
        if agent not in self._agents:
            raise Problem("agent-unknown")
        return agent
