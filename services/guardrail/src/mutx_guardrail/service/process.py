"""The process: it builds what judges, listens until it is told to stop, and says what it does."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI
from mutx_service.journal import describe_exception, write_event
from mutx_service.notify import notify
from mutx_service.process import begin
from mutx_service.server import Listener, ServiceServer, build_config
from mutx_service.settings import SettingsError
from mutx_service.tls import server_context

from mutx_guardrail.anomaly.event import Event
from mutx_guardrail.anomaly.shared import open_store
from mutx_guardrail.anomaly.store import StoreUnavailable
from mutx_guardrail.anomaly.watch import Anomaly
from mutx_guardrail.normalise.tokens import VocabularyError, count_tokens
from mutx_guardrail.panel import Panel
from mutx_guardrail.parts import Parts, build_parts
from mutx_guardrail.pipeline import Pipeline
from mutx_guardrail.review import ReviewStore, ReviewsUnavailable
from mutx_guardrail.runs.agents import Agents
from mutx_guardrail.service.app import Ports, create_app
from mutx_guardrail.service.mask_key import MaskKeyFile
from mutx_guardrail.service.metrics import Metrics
from mutx_guardrail.service.policy_file import PolicyFile
from mutx_guardrail.service.settings import PREFIX, REDIS_VARIABLE, Settings
from mutx_guardrail.verdict import Layer

TLS_VARIABLE = f"{PREFIX}TLS_CERTIFICATE"
PROBE_EVERY_S = 5.0
_PROBED = "readiness"


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit status is 0.

    Raises:
        SettingsError: a file that the settings name does not serve.
        PolicyError: the policy is not valid.
    """
    if settings.tls:
        server_context(settings.tls, TLS_VARIABLE)
    process = _Process(settings, begin())
    # uvicorn raises the signal again after its stop; then it is only noted.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    process.server().run()
    write_event("stopped", {})
    return 0


class _Process:
    """What lives as long as the process."""

    def __init__(self, settings: Settings, notify_to: dict[str, str]) -> None:
        self._settings, self._notify_to = settings, notify_to
        self._policy = PolicyFile(settings.policy, write_event)
        self._parts = build_parts(self._policy().layers, models=settings.models, judge=settings.judge)
        self._threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="judge")
        panel = Panel(self._parts, self._threads, settings.layer_s, _tell_defect)
        self._pipeline = Pipeline(self._policy, panel, key=MaskKeyFile(settings.mask_key, write_event))
        self._agents = Agents(settings)
        self._anomaly = Anomaly(open_store(settings.redis, REDIS_VARIABLE, settings.state), _tell_event)
        self._readiness = _Readiness(self._parts, self._policy, self._anomaly, time.monotonic)

    def server(self) -> ServiceServer:
        settings = self._settings
        ports = Ports(
            pipeline=self._pipeline,
            parts=self._parts,
            policy=self._policy,
            anomaly=self._anomaly,
            reviews=_reviews(settings),
            metrics=Metrics(),
            agents=self._agents,
            ready=self._readiness.problems,
        )
        app = create_app(settings, ports, lifespan=self._lifespan)
        listener = Listener(settings.host, settings.port, settings.tls, TLS_VARIABLE, settings.stop_s)
        return ServiceServer(build_config(app, listener), self._tell_listening, self._stop)

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        problems = await self._readiness.problems()
        for layer, why in problems.items():
            write_event("not-ready", {"layer": layer, "why": why})
        yield
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._parts.judge is not None:
            await self._parts.judge.aclose()

    def _tell_listening(self, host: str, port: int) -> None:
        policy = self._policy()
        fields = {
            "host": host,
            "port": port,
            "mtls": self._settings.tls is not None,
            "policy": policy.digest,
            "degraded": [layer.value for layer in policy.left_out],
        }
        write_event("listening", fields)
        notify(self._notify_to, READY="1", STATUS="listening")

    def _stop(self) -> None:
        write_event("stopping", {})
        notify(self._notify_to, STOPPING="1")


class _Readiness:
    """What keeps the process from judging by its policy; the judge and the store are tried every few seconds."""

    def __init__(
        self, parts: Parts, policy: PolicyFile, anomaly: Anomaly, clock: Callable[[], float]
    ) -> None:
        self._parts, self._policy, self._anomaly, self._clock = parts, policy, anomaly, clock
        self._known: dict[str, str] = {}
        self._until = float("-inf")

    async def problems(self) -> dict[str, str]:
        """Return what is wrong, by layer."""
        if self._clock() >= self._until:
            self._known = await self._look()
            self._until = self._clock() + PROBE_EVERY_S
        return self._known

    async def _look(self) -> dict[str, str]:
        found = {layer.value: "could not be loaded" for layer in self._parts.broken()}
        policy = self._policy()
        if self._policy.problem:
            found["policy"] = self._policy.problem
        if Layer.JUDGE in policy.layers:
            judge = self._parts.judge
            told = await judge.probe() if judge else None
            if told is None or not told.is_ready:
                found[Layer.JUDGE.value] = told.why if told else "no judge is configured"
        try:
            await asyncio.to_thread(count_tokens, "ready")
        except VocabularyError as error:
            found[Layer.NORMALISE.value] = str(error)
        try:
            await asyncio.to_thread(self._anomaly.state, _PROBED, policy.anomaly)
        except StoreUnavailable as error:
            found[Layer.ANOMALY.value] = error.why
        return found


def _reviews(settings: Settings) -> ReviewStore | None:
    if settings.state is None:
        return None
    try:
        return ReviewStore(settings.state / "reviews.sqlite")
    except ReviewsUnavailable as error:
        raise SettingsError(
            f"{PREFIX}STATE", f"holds reviews that cannot be used ({error})",
            "free its disk, mend its owner, or move the file away",
        ) from None  # fmt: skip


def _tell_event(event: Event) -> None:
    write_event("anomaly", event.document())


def _tell_defect(error: BaseException) -> None:
    write_event("defect", describe_exception(type(error), error.__traceback__))
