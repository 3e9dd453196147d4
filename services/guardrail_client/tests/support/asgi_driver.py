"""Runs an ASGI application once, and keeps every message that it sends."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Served:
    """One answer, as the server would have sent it."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    @property
    def status(self) -> int:
        (start,) = [each for each in self.messages if each["type"] == "http.response.start"]
        return start["status"]

    @property
    def headers(self) -> dict[str, str]:
        start = next(each for each in self.messages if each["type"] == "http.response.start")
        return {name.decode().lower(): value.decode() for name, value in start["headers"]}

    @property
    def parts(self) -> list[bytes]:
        found = [each.get("body", b"") for each in self.messages if each["type"] == "http.response.body"]
        return [each for each in found if each]

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def is_complete(self) -> bool:
        return self.messages[-1]["type"] == "http.response.body" and not self.messages[-1].get(
            "more_body", False
        )

    def json(self) -> Any:
        return json.loads(self.body)


def serve(app: Any, path: str, body: bytes | None = None, *, method: str = "POST", **headers: str) -> Served:
    return asyncio.run(serve_in_loop(app, path, body, method, headers))


async def serve_in_loop(
    app: Any,
    path: str,
    body: bytes | None = None,
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Served:
    named = {
        "content-type": "application/json",
        **{key.replace("_", "-"): value for key, value in (headers or {}).items()},
    }
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(key.encode(), value.encode()) for key, value in named.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "extensions": {"http.response.pathsend": {}},
    }  # fmt: skip
    served, waiting = Served(), [body or b""]

    async def receive() -> dict[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        served.messages.append(message)

    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 - a server would end the connection
        served.error = error
    return served
