"""Servers that are no Vault: each takes connections over TLS, or does not, and answers as a test wants."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mutx_infra.vault_ports import ClientCertificate

Answer = Callable[[socket.socket, threading.Event], None]
"""Answers one connection; the event says that the test is over."""


@contextmanager
def wrong_server(shown: ClientCertificate | None, answer: Answer) -> Iterator[str]:
    """Yield the URL of a server; without a certificate it speaks no TLS."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=_serve, args=(listener, _context(shown), answer, over))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def reply(body: bytes, status: str = "200 OK") -> Answer:
    """Answer every request of a connection alike."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def answer(connection: socket.socket, _over: threading.Event) -> None:
        while connection.recv(65536):
            connection.sendall(head + body)

    return answer


def raw(content: bytes) -> Answer:
    """Send something that need not be HTTP, and end."""

    def answer(connection: socket.socket, _over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(content)
        # Unread bytes would have the kernel take back what was sent.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            continue

    return answer


def hang(_connection: socket.socket, over: threading.Event) -> None:
    """Say nothing."""
    over.wait(60)


def drip(connection: socket.socket, over: threading.Event) -> None:
    """Send a header that never ends, a byte at a time."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not over.wait(0.05):
        connection.sendall(b"a")


def flood(connection: socket.socket, over: threading.Event) -> None:
    """Send a body that never ends."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not over.is_set():
        connection.sendall(b'{"data": "' + b"a" * 1_000_000)


def _context(shown: ClientCertificate | None) -> ssl.SSLContext | None:
    if shown is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    return context


def _serve(
    listener: socket.socket, context: ssl.SSLContext | None, answer: Answer, over: threading.Event
) -> None:
    threads = []
    while not over.is_set():
        with suppress(TimeoutError):
            connection, _ = listener.accept()
            threads.append(threading.Thread(target=_one, args=(connection, context, answer, over)))
            threads[-1].start()
    for thread in threads:
        thread.join()


def _one(
    connection: socket.socket, context: ssl.SSLContext | None, answer: Answer, over: threading.Event
) -> None:
    connection.settimeout(10)
    with connection, suppress(OSError):
        if context is None:
            answer(connection, over)
            return
        with context.wrap_socket(connection, server_side=True) as wrapped:
            answer(wrapped, over)
