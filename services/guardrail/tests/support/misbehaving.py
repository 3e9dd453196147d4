"""Servers that do what a judge's server should not: each a function that talks to one connection."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from judging import GOOD, a_body
from mutx_guardrail.judge.settings import FamilyName

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
GOOD_BODY = a_body(GOOD[FamilyName.QWEN3GUARD])
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@dataclass
class Talk:
    """One request that came, and the way to answer it."""

    body: bytes
    writer: Writer
    head: bytes = b""

    async def say(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)

    async def say_whole(self, body: bytes, head: bytes = HEAD) -> None:
        await self.say(head + b"content-length: %d\r\n\r\n" % len(body) + body)

    async def say_for_ever(self, piece: bytes, pause_s: float = 0.0) -> None:
        while True:
            await self.say(piece, pause_s=pause_s)


Script = Callable[[Talk], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[tuple[str, list[Talk]]]:
    """Serve on a loopback port; yield the URL, and the requests as they come."""
    came: list[Talk] = []

    talks: set[asyncio.Task[None]] = set()

    async def answer(reader: Reader, writer: Writer) -> None:
        talks.add(asyncio.current_task())
        try:
            while not writer.is_closing():
                head, body = await _read_request(reader)
                talk = Talk(body, writer, head)
                came.append(talk)
                await script(talk)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1", came
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks)
        # A turn of the loop for each transport to close its socket.
        await asyncio.sleep(0.01)


async def _read_request(reader: Reader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head, await reader.readexactly(int(lengths[0].partition(b":")[2])) if lengths else b""


async def silence(talk: Talk) -> None:
    await asyncio.sleep(3600)


async def slow_headers(talk: Talk) -> None:
    await talk.say(HEAD, b"x: ")
    await talk.say_for_ever(b"x", pause_s=0.02)


async def endless_headers(talk: Talk) -> None:
    await talk.say(HEAD)
    await talk.say_for_ever(b"x: " + b"y" * 1000 + b"\r\n")


async def endless_continue(talk: Talk) -> None:
    await talk.say_for_ever(b"HTTP/1.1 100 Continue\r\n\r\n")


async def slow_body(talk: Talk) -> None:
    await talk.say(HEAD, b"content-length: 100000\r\n\r\n")
    await talk.say_for_ever(b" ", pause_s=0.02)


async def endless_body(talk: Talk) -> None:
    await talk.say(HEAD, b"transfer-encoding: chunked\r\n\r\n")
    await talk.say_for_ever(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


async def huge_answer(talk: Talk) -> None:
    await talk.say_whole(a_body(GOOD[FamilyName.QWEN3GUARD] + " " * (2 << 20)))


async def long_answer(talk: Talk) -> None:
    await talk.say_whole(a_body(GOOD[FamilyName.QWEN3GUARD] + " " * 5000))


async def garbage(talk: Talk) -> None:
    await talk.say(b"\x16\x03\x01\x00\xa5\x01\x00\x00" * 100)
    talk.writer.close()


async def other_protocol(talk: Talk) -> None:
    await talk.say(b"220 mail.internal ESMTP\r\n")


async def server_error(talk: Talk) -> None:
    await talk.say_whole(GOOD_BODY, HEAD.replace(b"200 OK", b"500 Internal Server Error"))


async def too_many_requests(talk: Talk) -> None:
    await talk.say_whole(GOOD_BODY, HEAD.replace(b"200 OK", b"429 Too Many Requests") + b"retry-after: 0\r\n")


async def wrong_content_type(talk: Talk) -> None:
    await talk.say_whole(GOOD_BODY, HEAD.replace(b"application/json", b"text/html"))


async def truncated_json(talk: Talk) -> None:
    await talk.say_whole(GOOD_BODY[:-10])


async def broken_off(talk: Talk) -> None:
    await talk.say(HEAD, b"content-length: %d\r\n\r\n" % (len(GOOD_BODY) + 1), GOOD_BODY)
    talk.writer.close()


async def closed_at_once(talk: Talk) -> None:
    talk.writer.close()


async def packed(talk: Talk) -> None:
    await talk.say_whole(gzip.compress(GOOD_BODY), HEAD + b"content-encoding: gzip\r\n")


async def echo(talk: Talk) -> None:
    await talk.say_whole(a_body(json.loads(talk.body)["messages"][-1]["content"]))


async def echo_whole_request(talk: Talk) -> None:
    await talk.say_whole(talk.body)


async def two_answers(talk: Talk) -> None:
    whole = json.loads(GOOD_BODY)
    whole["choices"] *= 2
    await talk.say_whole(json.dumps(whole).encode())


async def cut_short(talk: Talk) -> None:
    await talk.say_whole(a_body(GOOD[FamilyName.QWEN3GUARD], finish="length"))


async def error_with_status_200(talk: Talk) -> None:
    await talk.say_whole(b'{"error": {"message": "CUDA out of memory", "code": 500}}')


async def wrong_nonce(talk: Talk) -> None:
    await talk.say_whole(a_body(json.dumps({"nonce": "another", "prompt_injection": 0, "toxic_content": 0})))


SCRIPTS: tuple[Script, ...] = (
    silence, slow_headers, endless_headers, endless_continue, slow_body, endless_body, huge_answer, long_answer,
    garbage, other_protocol, server_error, too_many_requests, wrong_content_type, truncated_json, broken_off,
    closed_at_once, packed, echo, echo_whole_request, two_answers, cut_short, error_with_status_200, wrong_nonce,
)  # fmt: skip
