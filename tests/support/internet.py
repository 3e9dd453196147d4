"""Places of the internet for tests: names at addresses of their own, each answering at port 443 of a visitor."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

from mutx_sandbox.machines.kernel import inside

from tests.support.machines import Visitor

NETWORK = "203.0.113.0/24"
"""TEST-NET-3 of RFC 5737; no tenant has it."""
HTTPS = 443
_CHUNK = 65536
Connect = Callable[[], socket.socket]


class _Server(ThreadingTCPServer):
    """Hands each connection to its handler, with TLS taken off where it has a context."""

    daemon_threads = True
    block_on_close = False
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError):  # who does not trust the certificate goes away
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
            with request:
                super().finish_request(request, client_address)


@contextmanager
def _serving(
    place: Visitor, address: str, context: ssl.SSLContext | None, handler: Callable[..., BaseRequestHandler]
) -> Iterator[None]:
    with inside(place.place, lambda: _Server((address, HTTPS), handler)) as server:
        server.context = context
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        yield
        server.shutdown()


def at(place: Visitor, address: str, port: int) -> Connect:
    """Return what connects to a port where a visitor is."""
    return partial(inside, place.place, partial(socket.create_connection, (address, port), 5))


@contextmanager
def forwarding(
    place: Visitor, address: str, connect: Connect, context: ssl.SSLContext | None = None
) -> Iterator[list[str]]:
    """Pass connections on; with a context, what goes on is what was in TLS. Yields who came, one address for each."""
    came: list[str] = []

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            came.append(self.client_address[0])
            with connect() as onward:
                onward.settimeout(None)
                back = threading.Thread(target=_pump, args=(onward, self.request), daemon=True)
                back.start()
                _pump(self.request, onward)
                back.join()

    with _serving(place, address, context, Handler):
        yield came


@contextmanager
def mirror(place: Visitor, address: str, context: ssl.SSLContext, folder: Path) -> Iterator[list[str]]:
    """Serve a folder; yields the paths that were asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: Any) -> None:
            asked.append(self.path)

    with _serving(place, address, context, partial(Handler, directory=str(folder))):
        yield asked


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
