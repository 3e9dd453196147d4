"""uvicorn, with what a service asks beyond it: the caller's certificate, problems for bad HTTP, a gentle stop."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import h11
from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from mutx_service.peer import peer_of
from mutx_service.problem import COMMON_KINDS, Problem
from mutx_service.settings import TlsFiles
from mutx_service.tls import server_context

HEADERS_LIMIT_S = 10
IDLE_S = 30
_LARGEST_HEADERS = 16 * 1024
_STOP_MARGIN_S = 2


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a service listens.

    Attributes:
        tls: None serves plain HTTP.
        tls_variable: the variable that names the certificate, for errors.
        stop_s: seconds that running requests have after a stop was asked for.
    """

    host: str
    port: int
    tls: TlsFiles | None
    tls_variable: str
    stop_s: int


class ServiceProtocol(H11Protocol):
    """One connection: it knows its peer, and does not wait for ever."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Note who called, and give the first request's head a limit."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.app_state = {**self.app_state, "peer": peer_of(tls)}
        self.loop.call_later(HEADERS_LIMIT_S, self._close_if_silent)

    def data_received(self, data: bytes) -> None:
        """Give a head that has begun, also a later one of the connection, a limit."""
        super().data_received(data)
        if self._has_half_a_head():
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(HEADERS_LIMIT_S, self._close_if_half)
        elif self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _has_half_a_head(self) -> bool:
        return self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])

    def _close_if_half(self) -> None:
        self._head_timer = None
        if self._has_half_a_head() and not self.transport.is_closing():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words say no more
        """Answer what is no HTTP with the one shape of an error."""
        document = Problem("http-invalid").document(COMMON_KINDS)
        body = json.dumps(document).encode()
        headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _close_if_silent(self) -> None:
        # uvicorn annotates it as never None, and sets it to None until the first request.
        if getattr(self, "cycle", None) is None and not self.transport.is_closing():
            self.transport.close()


class ServiceServer(Server):
    """A server that tells when it listens and when it is to stop."""

    def __init__(
        self, config: Config, on_listening: Callable[[str, int], None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_listening, self._on_stop = on_listening, on_stop
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._on_listening(host, port)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Tell it at once: what is running may end, and nothing new begins."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_stop)
        super().handle_exit(sig, frame)


def build_config(app: ASGIApp, listener: Listener) -> Config:
    """Return uvicorn's configuration: HTTP/1.1, mTLS where there are files, no logs and headers of its own."""
    tls = listener.tls

    def make_context(_config: Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        if tls is None:
            raise TypeError("plain HTTP has no TLS context")
        return server_context(tls, listener.tls_variable)

    return Config(
        app,
        host=listener.host,
        port=listener.port,
        http=ServiceProtocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=listener.stop_s + _STOP_MARGIN_S,
        h11_max_incomplete_event_size=_LARGEST_HEADERS,
        ssl_context_factory=None if tls is None else make_context,
    )
