"""An HTTP server that answers as it was told and remembers what it was asked: what Tailscale's API may do to us."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes:
        body: sent as JSON, or as it is where it is text.
        after_s: how long nothing comes.
    """

    status: int = 200
    body: object = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    authorization: str
    body: str
    condition: str = ""


@dataclass
class Script:
    """What is answered where: the replies of a path in their order, the last one again and again."""

    replies: dict[str, list[Reply]]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def paths(self) -> list[str]:
        return [each.path for each in self.asked]

    def next(self, path: str) -> Reply:
        replies = self.replies.get(path.partition("?")[0], [Reply(404, {"message": "no such path"})])
        return replies.pop(0) if len(replies) > 1 else replies[0]


@contextmanager
def answering(replies: dict[str, list[Reply]]) -> Iterator[Script]:
    """Run the server on loopback until the block ends."""
    script = Script(replies)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            headers = (self.headers.get("Authorization", ""), body, self.headers.get("If-Match", ""))
            script.asked.append(Asked(self.command, self.path, *headers))
            reply = script.next(self.path)
            time.sleep(reply.after_s)
            content = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
            try:
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client had no patience
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the base class calls them so

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - as in the base class
            del format, arguments

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
