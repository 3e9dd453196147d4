"""Calls to a provider over a real connection: what it may do with time, size and redirects."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mutx_control_plane.identity.provider_http import (
    LARGEST,
    ProviderFailed,
    ProviderHttp,
    make_client,
    require_ok,
)
from provider_fake import FakeProvider, Reply, serve


def get(url: str, deadline_s: float = 5.0):
    async def scenario():
        http = ProviderHttp(make_client(), deadline_s)
        try:
            return require_ok(await http.get(url))
        finally:
            await http.close()

    return asyncio.run(scenario())


def test_a_document_is_read():
    fake = FakeProvider()

    with serve(fake):
        assert get(f"{fake.base}/keys")["keys"]


def test_a_redirect_is_not_followed():
    fake, inner = FakeProvider(), FakeProvider()

    with serve(fake), serve(inner):
        fake.replies["/keys"] = Reply(302, {}, {"location": f"{inner.base}/keys"})
        with pytest.raises(ProviderFailed):
            get(f"{fake.base}/keys")

    assert not inner.calls


def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    fake = FakeProvider()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    with serve(fake):
        assert get(f"{fake.base}/keys")


@contextmanager
def raw_server(*parts: bytes, pause_s: float = 0.0, is_endless: bool = False) -> Iterator[str]:
    """Answer one connection with some bytes, slowly; an endless one repeats the last part until it is hung up on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                try:
                    for part in parts:
                        connection.sendall(part)
                        stop.wait(pause_s)
                    while is_endless and not stop.is_set():
                        connection.sendall(parts[-1])
                        stop.wait(pause_s)
                except OSError:
                    return

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
        finally:
            stop.set()
            thread.join()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        (b"",),
        (HEAD + b"content-length: 100\r\n\r\n", b"{"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
    ],
    ids=["nothing", "a body by bytes", "chunks by bytes"],
)
def test_a_provider_that_drips_is_left_after_the_deadline(parts):
    with raw_server(*parts, pause_s=0.05, is_endless=True) as url:
        begun = time.monotonic()
        with pytest.raises(ProviderFailed):
            get(url, 0.5)

    assert time.monotonic() - begun < 3


def test_an_endless_answer_is_left_when_it_is_too_large():
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"

    with (
        raw_server(HEAD + b"transfer-encoding: chunked\r\n\r\n", chunk, is_endless=True) as url,
        pytest.raises(ProviderFailed, match="too large"),
    ):
        get(url)

    assert LARGEST < 10 * 0x8000


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        HEAD + b"content-length: 10\r\n\r\n{}",
        HEAD + b"content-length: -1\r\n\r\n{}",
        HEAD,
    ],
    ids=["no HTTP", "a cut body", "a negative length", "a cut head"],
)
def test_an_answer_that_is_no_http_is_of_no_use(answer):
    with raw_server(answer) as url, pytest.raises(ProviderFailed):
        get(url)


def test_a_provider_that_is_not_there_is_told_as_one_that_failed():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(ProviderFailed):
        get(f"http://127.0.0.1:{port}/keys")
