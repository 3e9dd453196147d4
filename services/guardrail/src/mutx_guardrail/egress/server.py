"""The listener of the egress: who called, whether there is room, and then a tunnel or a judged call."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress

import h11
from mutx_service.journal import describe_exception, write_event
from mutx_service.peer import peer_of
from mutx_service.problem import Problem
from mutx_service.tls import server_context

from mutx_guardrail.egress.destination import Dialer, parse_target
from mutx_guardrail.egress.judge import Admit, Guard, Judge
from mutx_guardrail.egress.proxy import Proxy
from mutx_guardrail.egress.record import Write
from mutx_guardrail.egress.settings import TLS_VARIABLE, EgressSettings
from mutx_guardrail.egress.tunnel import Tunnels
from mutx_guardrail.egress.upstream import open_upstreams
from mutx_guardrail.egress.wire import Gone, Wire

HANDSHAKE_LIMIT_S = 10


class Egress:
    """Serves agents. Made within a running loop."""

    def __init__(
        self, settings: EgressSettings, guard: Guard, admit: Admit, dialer: Dialer, write: Write
    ) -> None:
        self._settings, self._rules, bounds = settings, settings.rules, settings.bounds
        self._upstreams = open_upstreams(settings.rules, bounds)
        self._proxy = Proxy(settings.rules, self._upstreams, Judge(guard, admit), bounds, write)
        self._tunnels = Tunnels(dialer, bounds, write)
        self._serving: dict[asyncio.Task[None], tuple[str, Wire]] = {}
        self._server: asyncio.Server | None = None
        self._is_stopping = False

    async def start(self) -> tuple[str, int]:
        """Listen; returns where."""
        self._server = await asyncio.start_server(
            self._accept,
            self._settings.host,
            self._settings.port,
            ssl=server_context(self._settings.tls, TLS_VARIABLE),
            ssl_handshake_timeout=HANDSHAKE_LIMIT_S,
            ssl_shutdown_timeout=1,
        )
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Take nothing new, end what rests at once, and what runs after `stop_s` seconds."""
        self._is_stopping = True
        if self._server is not None:
            self._server.close()
        for task, (_, wire) in self._serving.items():
            if wire.is_resting:
                task.cancel()
        if self._serving:
            await asyncio.wait(self._serving, timeout=self._settings.bounds.stop_s)
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        for upstream in self._upstreams.values():
            await upstream.aclose()

    @property
    def serving(self) -> int:
        """How many connections there are."""
        return len(self._serving)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        wire = Wire(reader, writer, peer_of(tls), self._settings.bounds)
        agent = self._rules.agent_of(wire.peer.names) or ""
        task = asyncio.current_task()
        if task is None:
            raise TypeError("a connection is served by a task")
        self._serving[task] = (agent, wire)
        try:
            await self._serve(wire, agent)
        except Gone:
            pass
        except Exception as error:  # noqa: BLE001 - the one place: logged without its words
            write_event("defect", describe_exception(type(error), error.__traceback__))
            with suppress(Gone, h11.LocalProtocolError):
                await wire.tell(Problem("defect"))
        finally:
            del self._serving[task]
            await wire.close()

    async def _serve(self, wire: Wire, agent: str) -> None:
        """Answer the requests of one connection, one after the other."""
        is_first = True
        try:
            while (request := await wire.next_request(is_first=is_first)) is not None:
                is_first = False
                self._check(wire, agent)
                if request.method == b"CONNECT":
                    await self._tunnel(wire, agent, request)
                    return
                await self._proxy.serve(wire, agent, request)
                if self._is_stopping or not wire.can_go_on():
                    return
        except Problem as problem:
            write_event("egress-refused", {"agent": agent, "code": problem.code})
            if not wire.has_answered:
                await wire.tell(problem)

    def _check(self, wire: Wire, agent: str) -> None:
        """Look at who calls, at each request: a connection outlives its handshake."""
        if not agent:
            raise Problem("caller-refused")
        if wire.peer.expires <= time.time():
            raise Problem("caller-expired")
        if self._is_stopping:
            raise Problem("egress-stopping")
        bounds, serving = self._settings.bounds, [name for name, _ in self._serving.values()]
        if len(serving) > bounds.connections or serving.count(agent) > bounds.connections_of_one:
            raise Problem("egress-busy")

    async def _tunnel(self, wire: Wire, agent: str, request: h11.Request) -> None:
        patterns = self._rules.agents[agent].tunnels
        target = parse_target(request.target.decode("latin-1"), patterns, self._settings.ports)
        await self._tunnels.serve(wire, agent, target)
