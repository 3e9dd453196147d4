"""The HTTP side: texts are judged, agents' states told, reviews kept. It admits, asks the pipeline, and answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from fastapi import FastAPI
from mutx_service.answer import guarded, http_exceptions, peer_of_request
from mutx_service.body import read_body
from mutx_service.journal import write_event
from mutx_service.problem import Problem
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Lifespan

from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.document import Origin
from mutx_guardrail.normalise.tokens import count_tokens
from mutx_guardrail.parts import Parts
from mutx_guardrail.pipeline import Pipeline
from mutx_guardrail.policy import Policy
from mutx_guardrail.review import ReviewStore, ReviewsUnavailable
from mutx_guardrail.runs.agents import Agents
from mutx_guardrail.runs.pause import Pauses
from mutx_guardrail.runs.routes import RunRoutes
from mutx_guardrail.service.callers import Callers
from mutx_guardrail.service.judging import Judging
from mutx_guardrail.service.metrics import CONTENT_TYPE, Metrics
from mutx_guardrail.service.openapi import described
from mutx_guardrail.service.problems import KINDS
from mutx_guardrail.service.question import (
    BatchItem,
    BatchQuestion,
    InputQuestion,
    MarkQuestion,
    OutcomeQuestion,
    OutputQuestion,
    WindowQuestion,
    parse_question,
)
from mutx_guardrail.service.settings import Settings

T = TypeVar("T")
_SMALL_BODY = 4_096
_MOST_REVIEWS = 1_000
_NUMBER = re.compile("[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class Ports:
    """What the HTTP side is given.

    Attributes:
        ready: the problem that a text would meet now, or nothing; asked by `/readyz`.
        agents: the way to those that runs are sent to.
    """

    pipeline: Pipeline
    parts: Parts
    policy: Callable[[], Policy]
    anomaly: Anomaly
    reviews: ReviewStore | None
    metrics: Metrics
    agents: Agents
    ready: Callable[[], Awaitable[dict[str, str]]]


def create_app(settings: Settings, ports: Ports, *, lifespan: Lifespan[Any] | None = None) -> FastAPI:
    """Build the application; nothing is opened or read until a request comes."""
    routes = _Routes(settings, ports)
    app = FastAPI(
        title="mutx guardrail", version="1", docs_url=None, redoc_url=None, lifespan=routes.lifespan(lifespan),
        # A redirect would lead to whichever host the request names.
        redirect_slashes=False,
    )  # fmt: skip
    app.add_exception_handler(HTTPException, http_exceptions(KINDS))
    for method, path, route, words in routes.table():
        app.add_api_route(
            path, guarded(route, KINDS, routes.check_caller), methods=[method], response_model=None, **words
        )
    return app


class _Routes:
    def __init__(self, settings: Settings, ports: Ports) -> None:
        self._settings, self._ports = settings, ports
        self._callers = Callers(settings)
        self._judging = Judging(
            ports.pipeline, ports.policy, ports.anomaly, ports.parts, ports.reviews, ports.metrics,
            on_paused=self._ask_to_pause,
        )  # fmt: skip
        self._pauses = Pauses(ports.agents, self._judging)
        self._runs = RunRoutes(settings, self._callers, self._judging, ports.agents, self._pauses)
        self._running = 0

    def table(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]], dict[str, Any]]]:
        """Return every route with its words for OpenAPI."""
        return [
            ("POST", "/v1/guard/input", self.input, described("Judge a text to an agent", InputQuestion)),
            ("POST", "/v1/guard/output", self.output, described("Judge a text from an agent", OutputQuestion)),
            ("POST", "/v1/guard/output/window", self.window,
             described("Judge the next piece of a text that an agent is still writing", WindowQuestion)),
            ("POST", "/v1/guard/batch", self.batch, described("Judge several texts side by side", BatchQuestion)),
            ("GET", "/v1/agents/{agent}/state", self.state, described("Tell how an agent stands")),
            ("POST", "/v1/agents/{agent}/outcome", self.outcome,
             described("Tell how a request to an agent ended", OutcomeQuestion)),
            ("POST", "/v1/agents/{agent}/resume", self.resume, described("End an agent's pause")),
            ("GET", "/v1/reviews", self.reviews, described("List what was flagged or blocked")),
            ("POST", "/v1/reviews/{review}", self.mark,
             described("Say whether a finding was right", MarkQuestion)),
            ("GET", "/healthz", self.healthz, described("Tell whether the process is alive")),
            ("GET", "/readyz", self.readyz, described("Tell whether a text would be judged now")),
            ("GET", "/metrics", self.metrics, described("Expose Prometheus metrics")),
            *self._runs.table(),
        ]  # fmt: skip

    def check_caller(self, request: Request) -> None:
        """Let permitted callers in."""
        self._callers.check(peer_of_request(request))

    def _ask_to_pause(self, agent: str) -> None:
        self._pauses.ask(agent)

    def lifespan(self, outer: Lifespan[Any] | None) -> Lifespan[Any]:
        """Return the application's life: what asks agents in the background ends before anything else does."""

        @asynccontextmanager
        async def live(app: Any) -> AsyncIterator[None]:  # noqa: ANN401 - whichever application lives
            async with outer(app) if outer else nullcontext():
                try:
                    yield
                finally:
                    await self._pauses.aclose()

        return live

    async def input(self, request: Request) -> Response:
        """Judge a text that is to go to an agent."""
        question = parse_question(await self._body(request), InputQuestion)
        self._callers.check_agent(peer_of_request(request), question.agent)
        with self._place():
            return JSONResponse(
                await self._input(
                    question.text,
                    question.agent,
                    question.origin,
                    earlier=question.earlier,
                    task=question.task,
                )
            )

    async def output(self, request: Request) -> Response:
        """Judge a text that comes from an agent."""
        question = parse_question(await self._body(request), OutputQuestion)
        self._callers.check_agent(peer_of_request(request), question.agent)
        with self._place():
            return JSONResponse(await self._output(question.text, question.agent))

    async def window(self, request: Request) -> Response:
        """Judge the next piece of a stream."""
        question = parse_question(await self._body(request), WindowQuestion)
        self._callers.check_agent(peer_of_request(request), question.agent)
        with self._place():
            try:
                released = await self._ports.pipeline.window(
                    question.before, question.text, question.agent, is_last=question.final
                )
            except ValueError:
                raise Problem("sink-not-streamable") from None
            await self._judging.note(released.verdict, question.agent, "output", question.text)
            return JSONResponse(released.document())

    async def batch(self, request: Request) -> Response:
        """Judge several texts; each takes a place."""
        question = parse_question(await self._body(request), BatchQuestion)
        for item in question.items:
            self._callers.check_agent(peer_of_request(request), item.agent)
        with self._place(len(question.items)):
            verdicts = await asyncio.gather(
                *(self._item(item, learn=question.learn) for item in question.items)
            )
        return JSONResponse({"items": verdicts})

    async def state(self, request: Request) -> Response:
        """Tell an agent's state."""
        agent = self._agent(request)
        state = await self._judging.state(agent)
        return JSONResponse({"agent": agent, **asdict(state), "phase": state.phase.name.lower()})

    async def outcome(self, request: Request) -> Response:
        """Learn how a request ended that did not pass through here."""
        agent = self._agent(request)
        question = parse_question(await read_body(request, _SMALL_BODY, wants_json=True), OutcomeQuestion)
        checks = await self._judging.observe(agent, 0, ok=question.ok, text="")
        return JSONResponse({"agent": agent, "checks": [check.document() for check in checks]})

    async def resume(self, request: Request) -> Response:
        """End a pause or a hold, here and at the agent; one that does not answer is left to its next run."""
        self._callers.check_operator(peer_of_request(request))
        agent = self._agent(request)
        await self._judging.resume(agent)
        await self._pauses.lift(agent)
        return await self.state(request)

    async def reviews(self, request: Request) -> Response:
        """List entries: `?open=1` those nobody marked, `?agent=…`, `?limit=…`."""
        self._callers.check_operator(peer_of_request(request))
        asked = request.query_params
        limit = asked.get("limit", "100")
        if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= _MOST_REVIEWS:
            raise Problem("request-invalid", f"limit is a number from 1 to {_MOST_REVIEWS}")
        entries = await self._ask_reviews(
            lambda store: store.entries(
                only_open=asked.get("open") == "1", agent=asked.get("agent", ""), limit=int(limit)
            )
        )
        return JSONResponse({"reviews": [entry.document() for entry in entries]})

    async def mark(self, request: Request) -> Response:
        """Keep what a reviewer says."""
        self._callers.check_operator(peer_of_request(request))
        question = parse_question(await read_body(request, _SMALL_BODY, wants_json=True), MarkQuestion)
        entry = request.path_params["review"]
        known = await self._ask_reviews(lambda store: store.mark(entry, question.verdict, question.reviewer))
        if not known:
            raise Problem("review-unknown")
        return JSONResponse({"id": entry, "mark": question.verdict.value})

    async def healthz(self, _request: Request) -> Response:
        """Alive: the loop turns."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """Able to judge by what the policy wants; what it leaves out is told."""
        problems = await self._ports.ready()
        policy = self._ports.policy()
        if problems:
            raise Problem("guard-degraded", "; ".join(f"{layer}: {why}" for layer, why in problems.items()))
        return JSONResponse(
            {
                "status": "ready",
                "policy": policy.digest,
                "profile": policy.profile,
                "layers": [layer.value for layer in policy.layers],
                "degraded": [layer.value for layer in policy.left_out],
            }
        )

    async def metrics(self, _request: Request) -> Response:
        """Expose the metrics."""
        return Response(self._ports.metrics.expose(), media_type=CONTENT_TYPE)

    async def _body(self, request: Request) -> bytes:
        return await read_body(request, self._settings.body_bytes, wants_json=True)

    def _place(self, wanted: int = 1) -> _Place:
        return _Place(self, wanted)

    async def _item(self, item: BatchItem, *, learn: bool) -> dict[str, object]:
        if item.direction == "input":
            return await self._input(item.text, item.agent, item.origin, task=item.task)
        return await self._output(item.text, item.agent, learn=learn)

    async def _input(
        self, text: str, agent: str, origin: Origin, *, earlier: Sequence[str] = (), task: str = ""
    ) -> dict[str, object]:
        """Admit, then judge; a request that the agent's rate or pause refuses is not judged.

        What a tool or a page says is part of a request that was counted.
        """
        ask = self._judging.admit if origin is Origin.USER else self._judging.standing
        admitted = await ask(agent) if agent else None
        if admitted is not None and not admitted.passed:
            verdict = self._ports.pipeline.refused(admitted)
        else:
            verdict = await self._ports.pipeline.input(text, agent, origin, earlier=earlier, task=task)
            if admitted is not None:
                if not verdict.allowed:
                    await self._judging.give_back(agent, admitted)
                verdict = verdict.with_checks([admitted])
        return await self._judging.note(verdict, agent, "input", text)

    async def _output(self, text: str, agent: str, *, learn: bool = True) -> dict[str, object]:
        verdict = await self._ports.pipeline.output(text, agent)
        if agent and learn:
            tokens = await asyncio.to_thread(count_tokens, text)
            refusal = verdict.refusal
            # What no layer could judge is not the agent's error.
            ok = refusal is None or bool(refusal.unavailable)
            verdict = verdict.with_checks(await self._judging.observe(agent, tokens, ok=ok, text=text))
        return await self._judging.note(verdict, agent, "output", text)

    def _agent(self, request: Request) -> str:
        """Return the agent of the path, which the caller may ask about."""
        agent: str = request.path_params["agent"]
        self._callers.check_agent(peer_of_request(request), agent)
        try:
            OutputQuestion(text="", agent=agent)
        except ValueError:
            raise Problem("agent-unknown") from None
        return agent

    async def _ask_reviews(self, ask: Callable[[ReviewStore], T]) -> T:
        store = self._ports.reviews
        if store is None:
            raise Problem("review-unknown", "this process keeps no reviews: it has no state directory")
        try:
            return await asyncio.to_thread(ask, store)
        except ReviewsUnavailable as error:
            write_event("reviews-unavailable", {"why": str(error)})
            raise Problem("reviews-unavailable") from None

    def take(self, wanted: int) -> None:
        """Take places among the texts that are judged.

        Raises:
            Problem: `guard-busy`.
        """
        if self._running and self._running + wanted > self._settings.texts:
            raise Problem("guard-busy")
        self._running += wanted
        self._ports.metrics.running(self._running)

    def give_back(self, taken: int) -> None:
        """Give places back."""
        self._running -= taken
        self._ports.metrics.running(self._running)


class _Place:
    """Places among the texts that are judged, for as long as the block runs."""

    def __init__(self, routes: _Routes, wanted: int) -> None:
        self._routes, self._wanted = routes, wanted

    def __enter__(self) -> None:
        self._routes.take(self._wanted)

    def __exit__(self, *_raised: object) -> None:
        self._routes.give_back(self._wanted)
