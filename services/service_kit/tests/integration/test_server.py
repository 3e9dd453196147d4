"""The server on loopback: what it does with callers who do not say what they have begun."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from mutx_service.server import HEADERS_LIMIT_S, Listener, ServiceServer, build_config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

WHOLE = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def answer(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("whole")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listening, ports = threading.Event(), []

    def tell(_host: str, port: int) -> None:
        ports.append(port)
        listening.set()

    config = build_config(Starlette(routes=[Route("/", answer)]), Listener("127.0.0.1", 0, None, "", 1))
    server = ServiceServer(config, tell, lambda: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert listening.wait(10)
    yield ports[0]
    server.should_exit = True
    thread.join()


def receive(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"whole"):
        part = connection.recv(4096)
        if not part:
            break
        found += part
    return found


@pytest.mark.parametrize("before", [b"", WHOLE], ids=["first", "second"])
def test_half_a_head_is_not_waited_for(port, before):
    with socket.create_connection(("127.0.0.1", port), HEADERS_LIMIT_S + 10) as connection:
        if before:
            connection.sendall(before)
            receive(connection)
        start = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\nhost")

        assert receive(connection) == b""
        assert HEADERS_LIMIT_S - 2 < time.monotonic() - start < HEADERS_LIMIT_S + 5


def test_a_head_in_two_parts_is_answered_and_the_connection_goes_on(port):
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        for _ in range(2):
            connection.sendall(WHOLE[:9])
            time.sleep(0.1)
            connection.sendall(WHOLE[9:])

            assert receive(connection).startswith(b"HTTP/1.1 200 ")
