"""The console script: it reads the environment, loads the agent while it listens, and serves until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager

from mutx_service.journal import describe_exception, write_event
from mutx_service.notify import notify
from mutx_service.problem import Problem
from mutx_service.process import begin
from mutx_service.server import Listener, ServiceServer, build_config
from mutx_service.settings import SettingsError
from mutx_service.tls import client_context, server_context
from starlette.applications import Starlette

from mutx_reference_agent.admission import Admission
from mutx_reference_agent.api import Ports, create_app
from mutx_reference_agent.egress import TenantTransport
from mutx_reference_agent.key_file import KeyFile
from mutx_reference_agent.pause import PauseSwitch
from mutx_reference_agent.run import Agent
from mutx_reference_agent.settings import (
    GUARD_TLS_VARIABLE,
    PROXY_TLS_VARIABLE,
    TLS_VARIABLE,
    Settings,
    read_settings,
)

SETTINGS_INVALID = 3

# Libraries act on these: they send prompts to a tracing service, log bodies, or take another way out.
_ALIEN_PREFIXES = (
    "LANGSMITH_",
    "LANGCHAIN_",
    "LANGGRAPH_",
    "OPENAI_",
    "ANTHROPIC_",
    "OTEL_",
    "SSLKEYLOGFILE",
)
_ALIEN_NAMES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, or only check the settings; the exit status is 3 where they do not describe an agent."""
    parser = argparse.ArgumentParser(
        description="Serve one agent of a tenant, as its environment describes it."
    )
    parser.add_argument("--check", action="store_true", help="check the settings and end")
    options = parser.parse_args(arguments)
    scrub_environment(os.environ)
    try:
        settings = read_settings(os.environ)
        try_certificates(settings)
    except SettingsError as error:
        sys.stderr.write(f"error[settings]: {error}\n  hint: {error.remedy}\n")
        return SETTINGS_INVALID
    if options.check:
        sys.stdout.write(f"{settings.name}: the settings describe an agent\n")
        return 0
    return _serve(settings)


def scrub_environment(variables: MutableMapping[str, str]) -> None:
    """Take away what would let a library log or send a run's text, or change the agent's way out."""
    for name in list(variables):
        if name.upper().startswith(_ALIEN_PREFIXES) or name.upper() in _ALIEN_NAMES:
            del variables[name]


def try_certificates(settings: Settings) -> None:
    """Build what the certificates decide once, so that a wrong one stops the start with its variable's name."""
    if settings.server_tls:
        server_context(settings.server_tls, TLS_VARIABLE)
    if settings.proxy_tls:
        client_context(settings.proxy_tls, "proxy", PROXY_TLS_VARIABLE)
    if settings.guard_tls:
        client_context(settings.guard_tls, "guard", GUARD_TLS_VARIABLE)


def _serve(settings: Settings) -> int:
    process = _Process(settings, begin())
    # uvicorn raises the signal again after its stop; then it is only noted.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    process.server().run()
    write_event("stopped", {"agent": settings.name})
    return process.exit_status


class _Process:
    """What lives as long as the process: the agent once it is loaded, admission, pause."""

    def __init__(self, settings: Settings, notify_to: dict[str, str]) -> None:
        self._settings, self._notify_to = settings, notify_to
        self._pause = PauseSwitch(settings.state)
        self._admission = Admission(settings.limits, self._pause)
        self._key = KeyFile(settings.key_file)
        self._transport = TenantTransport(settings, self._key)
        self._agent: Agent | None = None
        self.exit_status = 0

    def server(self) -> ServiceServer:
        ports = Ports(self._loaded_agent, self._key.read, self._pause, self._admission)
        app = create_app(self._settings, ports, lifespan=self._lifespan)
        settings = self._settings
        listener = Listener(
            settings.host, settings.port, settings.server_tls, TLS_VARIABLE, settings.limits.stop_s
        )
        return ServiceServer(build_config(app, listener), self._tell_listening, self._stop)

    def _loaded_agent(self) -> Agent:
        if self._agent is None:
            raise Problem("agent-starting")
        return self._agent

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(self._load())
        try:
            yield
        finally:
            loading.cancel()
            await self._transport.aclose()

    async def _load(self) -> None:
        """Load LangChain beside the loop, which answers health checks meanwhile."""
        try:
            self._agent = await asyncio.to_thread(_load_agent, self._settings, self._transport)
        except Exception as error:  # noqa: BLE001 - logged without its words; the process then ends
            write_event("defect", describe_exception(type(error), error.__traceback__))
            self.exit_status = 1
            signal.raise_signal(signal.SIGTERM)
            return
        state = "paused" if self._pause.is_paused() else "ready"
        write_event("loaded", {"agent": self._settings.name, "state": state})
        notify(self._notify_to, READY="1", STATUS=state)

    def _tell_listening(self, host: str, port: int) -> None:
        is_mutual = self._settings.server_tls is not None
        write_event(
            "listening", {"agent": self._settings.name, "host": host, "port": port, "mtls": is_mutual}
        )

    def _stop(self) -> None:
        if not self._admission.is_stopping:
            write_event("stopping", {"agent": self._settings.name, "running": self._admission.running})
            notify(self._notify_to, STOPPING="1")
        self._admission.stop()


def _load_agent(settings: Settings, transport: TenantTransport) -> Agent:
    from mutx_reference_agent.chain import ChainAgent  # noqa: PLC0415 - takes seconds, beside the loop

    return ChainAgent(settings, transport)


if __name__ == "__main__":
    sys.exit(main())
