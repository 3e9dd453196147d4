"""The double itself: a threaded HTTP server of the standard library that answers as it was told and notes each call."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mutx_provider_double.dialects import PATHS, error_body, frame, key_of, stream, whole
from mutx_provider_double.reply import Call, Reply

CONTROL = "/_double/"


class ProviderDouble:
    """A provider on loopback. Without a script it says back the last message, after the word `echo:`.

    Used in a process as a context manager, or by the console script and its control paths from others.

    Args:
        tls: serve https with this context.
        keys: the keys that are taken; None takes every one.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, keys: Iterable[str] | None = None, port: int = 0
    ) -> None:
        self._lock = threading.Lock()
        self._script: deque[Reply] = deque()
        self._calls: list[Call] = []
        self._keys = None if keys is None else frozenset(keys)
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.double = self
        self._scheme = "http" if tls is None else "https"
        self._server.tls = tls
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> ProviderDouble:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def openai_url(self) -> str:
        """What an OpenAI client takes for its base URL."""
        return f"{self._scheme}://127.0.0.1:{self.port}/v1"

    @property
    def anthropic_url(self) -> str:
        """What an Anthropic client takes for its base URL."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def calls(self) -> list[Call]:
        """Every call so far, in the order of arrival."""
        with self._lock:
            return list(self._calls)

    def script(self, *replies: Reply) -> None:
        """Answer the next calls with these, replacing what was scripted before."""
        with self._lock:
            self._script = deque(replies)

    def accept_keys(self, *keys: str) -> None:
        """Take these keys only, from the next call on."""
        with self._lock:
            self._keys = frozenset(keys)

    def forget(self) -> None:
        """Drop script and record."""
        with self._lock:
            self._script.clear()
            self._calls.clear()

    def take(self, dialect: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[Reply, str]:
        """Decide on one call and note it."""
        key = key_of(dialect, headers)
        with self._lock:
            call = Call(time.time(), dialect, key, body, 200, headers)
            if self._keys is not None and key not in self._keys:
                reply = Reply(status=401)
            else:
                reply = self._script.popleft() if self._script else Reply(text=f"echo: {call.text}")
            self._calls.append(replace(call, status=reply.status))
        return reply, key


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    double: ProviderDouble
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the standard library's
        """Shake hands in the connection's own thread, so that a slow one stops nobody."""
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(10)
        with suppress(OSError), self.tls.wrap_socket(request, server_side=True) as secured:
            secured.settimeout(None)
            super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a caller that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Answer a call of a model, or take a script."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == f"{CONTROL}script":
            self.server.double.script(*(Reply.from_json(each) for each in json.loads(body)))
            self._send(200, {})
            return
        dialect = PATHS.get(self.path.partition("?")[0])
        if dialect is None:
            self._send(404, {"error": {"message": f"no such path: {self.path}"}})
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = json.loads(body)
        reply, key = self.server.double.take(dialect, headers, asked)
        time.sleep(reply.delay_s)
        with suppress(OSError):
            self._answer(dialect, reply, asked, key)

    def do_PUT(self) -> None:
        """Take the list of accepted keys."""
        keys = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        self.server.double.accept_keys(*keys)
        self._send(200, {})

    def do_GET(self) -> None:
        """Tell the calls so far."""
        calls = [asdict(call) for call in self.server.double.calls]
        self._send(200 if self.path == f"{CONTROL}calls" else 404, {"calls": calls})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""

    def _answer(self, dialect: str, reply: Reply, asked: dict[str, Any], key: str) -> None:
        if reply.status != 200:  # noqa: PLR2004
            self._send(reply.status, error_body(dialect, reply.status, key), retry_after=reply.retry_after)
            return
        model, words_in = str(asked.get("model")), len(json.dumps(asked).split())
        if reply.body is not None:
            self._send_bytes(200, reply.body.encode(errors="surrogateescape"), reply.media)
        elif asked.get("stream"):
            self._stream([frame(event) for event in stream(dialect, reply, model, words_in)], reply)
        else:
            self._send(200, whole(dialect, reply, model, words_in))

    def _stream(self, frames: list[bytes], reply: Reply) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for part in frames[: reply.break_after]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()
            time.sleep(reply.chunk_delay_s)
        if reply.break_after is not None and reply.reset:
            self._reset()
            return
        self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        """End the connection as a crash does: by RST."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _send(self, status: int, content: dict[str, Any], *, retry_after: str = "") -> None:
        self._send_bytes(status, json.dumps(content).encode(), "application/json", retry_after)

    def _send_bytes(self, status: int, content: bytes, media: str, retry_after: str = "") -> None:
        self.send_response(status)
        self.send_header("content-type", media)
        self.send_header("content-length", str(len(content)))
        if retry_after:
            self.send_header("retry-after", retry_after)
        self.end_headers()
        self.wfile.write(content)
