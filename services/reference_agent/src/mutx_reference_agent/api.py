"""The HTTP side of the contract: runs, pause, health. Thin: it admits, asks the agent, and shapes the answer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass

from mutx_service.answer import guarded, http_exceptions, peer_of_request, problem_response
from mutx_service.body import read_body
from mutx_service.journal import describe_exception, write_event
from mutx_service.peer import check_caller
from mutx_service.problem import Problem
from mutx_service.trace import SpanContext, parse_traceparent, span
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Lifespan

from mutx_reference_agent.admission import Admission, Slot
from mutx_reference_agent.pause import PauseSwitch
from mutx_reference_agent.problem import KINDS
from mutx_reference_agent.run import Agent, Event, Finished, RunRequest, parse_pause, parse_request
from mutx_reference_agent.settings import Settings
from mutx_reference_agent.stream import stream_events

_LONGEST_PAUSE_BODY = 4096


@dataclass(frozen=True)
class Ports:
    """What the HTTP side is given. `agent` raises `agent-starting` until there is one; `check_key` what is wrong."""

    agent: Callable[[], Agent]
    check_key: Callable[[], object]
    pause: PauseSwitch
    admission: Admission


def create_app(settings: Settings, ports: Ports, *, lifespan: Lifespan[Starlette] | None = None) -> Starlette:
    """Build the application; nothing is opened or read until a request comes."""
    routes = _Routes(settings, ports)
    return Starlette(
        routes=[
            Route("/healthz", routes.guarded(routes.healthz), methods=["GET"]),
            Route("/readyz", routes.guarded(routes.readyz), methods=["GET"]),
            Route("/v1/runs", routes.guarded(routes.run), methods=["POST"]),
            Route("/v1/pause", routes.guarded(routes.read_pause), methods=["GET"]),
            Route("/v1/pause", routes.guarded(routes.pause), methods=["PUT"]),
            Route("/v1/pause", routes.guarded(routes.resume), methods=["DELETE"]),
        ],
        exception_handlers={HTTPException: http_exceptions(KINDS)},
        lifespan=lifespan,
    )


class _Routes:
    def __init__(self, settings: Settings, ports: Ports) -> None:
        self._settings, self._ports = settings, ports

    def guarded(
        self, route: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Let permitted callers in, and answer a problem as one."""
        return guarded(route, KINDS, self._check_caller)

    def _check_caller(self, request: Request) -> None:
        if self._settings.server_tls is not None:
            check_caller(peer_of_request(request), self._settings.callers)

    async def healthz(self, _request: Request) -> Response:
        """Alive: the loop turns."""
        return JSONResponse({"status": "ok", "agent": self._settings.name})

    async def readyz(self, _request: Request) -> Response:
        """Able to take a run now; otherwise the problem that a run would meet."""
        self._ports.admission.refuse_if_closed()
        self._ports.check_key()
        self._ports.agent()
        return JSONResponse({"status": "ready", "agent": self._settings.name})

    async def read_pause(self, _request: Request) -> Response:
        """Tell whether the agent is paused, since when, by whom and why."""
        return self._tell_pause()

    async def pause(self, request: Request) -> Response:
        """Pause; the body may be empty or `{"reason": …}`."""
        body = await read_body(request, _LONGEST_PAUSE_BODY)
        reason = parse_pause(body)
        by = ", ".join(sorted(peer_of_request(request).names)) or "loopback"
        pause = await asyncio.to_thread(self._ports.pause.set, by, reason)
        write_event("paused", {"agent": self._settings.name, "by": pause.by, "since": pause.since})
        return self._tell_pause()

    async def resume(self, request: Request) -> Response:
        """Take runs again."""
        await asyncio.to_thread(self._ports.pause.clear)
        by = ", ".join(sorted(peer_of_request(request).names)) or "loopback"
        write_event("resumed", {"agent": self._settings.name, "by": by})
        return self._tell_pause()

    def _tell_pause(self) -> Response:
        pause = self._ports.pause.read()
        return JSONResponse({"paused": pause is not None, **(asdict(pause) if pause else {})})

    async def run(self, request: Request) -> Response:
        """Run the agent once, and answer whole or as a stream of events."""
        self._ports.admission.refuse_if_closed()
        body = await read_body(request, self._settings.limits.max_body_bytes, wants_json=True)
        asked = parse_request(body)
        agent = self._ports.agent()
        self._ports.check_key()
        slot = self._ports.admission.admit()
        run_id = asked.id or secrets.token_hex(16)
        parent = parse_traceparent(request.headers.get("traceparent"))
        task = _Run(agent, asked, run_id, parent, self._settings)
        if asked.stream:
            return stream_events(run_id, lambda emit: task.perform(slot, emit), slot.release)
        return await _answer_whole(request, task, slot)


class _Run:
    """One run within its slot, as one span."""

    def __init__(
        self, agent: Agent, asked: RunRequest, run_id: str, parent: SpanContext | None, settings: Settings
    ) -> None:
        self._agent, self._asked, self._parent = agent, asked, parent
        self._settings, self.run_id = settings, run_id
        self.trace_id = ""

    async def perform(
        self, slot: Slot, emit: Callable[[Event, str], Awaitable[None]] | None = None
    ) -> Finished:
        """Run to the end, handing each event to `emit` with the trace's id.

        Raises:
            Problem: the run failed; a defect is logged and comes as one.
        """
        name = self._settings.name
        with span("run", self._parent, agent=name, run_id=self.run_id, stream=self._asked.stream) as opened:
            self.trace_id = opened.context.trace_id
            try:
                async with slot.bounded():
                    finished = await self._follow(emit)
            except Problem:
                raise
            except Exception as error:
                write_event("defect", describe_exception(type(error), error.__traceback__))
                raise Problem("defect") from error
            opened.attributes |= {
                "steps": finished.steps,
                "input_tokens": finished.input_tokens,
                "output_tokens": finished.output_tokens,
            }
            return finished

    async def _follow(self, emit: Callable[[Event, str], Awaitable[None]] | None) -> Finished:
        last: Event | None = None
        async with aclosing(self._agent.run(self._asked)) as events:
            async for event in events:
                last = event
                if emit is not None:
                    await emit(event, self.trace_id)
        if not isinstance(last, Finished):
            raise Problem("defect")
        return last


async def _answer_whole(request: Request, run: _Run, slot: Slot) -> Response:
    """Wait for the run's end; a caller that hangs up ends the run, which costs the tenant money."""
    running = asyncio.create_task(run.perform(slot))
    running.add_done_callback(lambda _: slot.release())
    hung_up = asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait({running, hung_up}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hung_up.cancel()
        if not running.done():
            running.cancel()
            with suppress(asyncio.CancelledError, Problem):
                await running
    if running.cancelled():
        return Response(status_code=499)
    try:
        finished = running.result()
    except Problem as problem:
        return problem_response(problem, KINDS, run.trace_id)
    return JSONResponse(completed_document(run.run_id, finished, run.trace_id))


def completed_document(run_id: str, finished: Finished, trace_id: str) -> dict[str, object]:
    """Return what a completed run answers, whole or in the last event of its stream."""
    return {"id": run_id, "status": "completed", "trace_id": trace_id, **asdict(finished)}


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
