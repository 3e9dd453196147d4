"""Agents that do what one should not: each a function that talks to one connection, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from misbehaving import Script, Talk, serving, silence

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


class ScriptedAgent:
    """An agent on loopback in plain HTTP, which does what `script` says now; `heads` are those of what it was sent."""

    def __init__(self, script: Script = silence) -> None:
        self.script = script
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._serving = serving(self._talk)

    def __enter__(self) -> ScriptedAgent:
        self._thread.start()
        url, self._talks = self._do(self._serving.__aenter__())
        self.url = url.removesuffix("/v1")
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._serving.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def heads(self) -> list[bytes]:
        return [talk.head for talk in self._talks]

    async def _talk(self, talk: Talk) -> None:
        await self.script(talk)

    def _do(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)


def completed(talk: Talk, output: str, **changed: object) -> dict[str, object]:
    """Return what a well-behaved agent answers to a request."""
    return {
        "id": json.loads(talk.body)["id"], "status": "completed", "trace_id": "", "output": output, "steps": 1,
        "input_tokens": 3, "output_tokens": 4, **changed,
    }  # fmt: skip


def event(name: str, document: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(document)}\n\n".encode()


def whole(output: str, **changed: object) -> Script:
    """Return an agent that answers one text."""

    async def script(talk: Talk) -> None:
        await talk.say_whole(json.dumps(completed(talk, output, **changed)).encode(), JSON_HEAD)

    return script


def streams(
    *events: tuple[str, dict[str, object]], output: str | None = None, pause_s: float = 0.0
) -> Script:
    """Return an agent that sends `started`, some events, and `completed` where there is an output."""

    async def script(talk: Talk) -> None:
        run = json.loads(talk.body)["id"]
        await talk.say(STREAM_HEAD, event("started", {"id": run}))
        for name, document in events:
            await talk.say(event(name, document), pause_s=pause_s)
        if output is not None:
            await talk.say(event("completed", completed(talk, output)))
        talk.writer.close()

    return script


def raw(*pieces: bytes, closes: bool = True) -> Script:
    """Return an agent that sends some bytes."""

    async def script(talk: Talk) -> None:
        await talk.say(*pieces)
        if closes:
            talk.writer.close()
        else:
            await asyncio.sleep(3_600)

    return script


def fails(
    status: int, document: object, *, media: str = "application/problem+json", head: bytes = b""
) -> Script:
    """Return an agent that answers a problem."""

    async def script(talk: Talk) -> None:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        start = b"HTTP/1.1 %d X\r\ncontent-type: %s\r\n" % (status, media.encode())
        await talk.say_whole(content, start + head)

    return script
