"""The answer's side of the middleware: a document is judged whole, a stream by windows as it is written."""

from __future__ import annotations

import codecs
import json
from typing import Protocol

from starlette.types import Message, Send

from mutx_guardrail_client.aio import AsyncGuardClient
from mutx_guardrail_client.errors import GuardError, GuardUnavailable
from mutx_guardrail_client.event_stream import EventStream, Pointer
from mutx_guardrail_client.fields import TooManyTextsError, texts_at
from mutx_guardrail_client.judging import judge_texts
from mutx_guardrail_client.problem import Problem, problem_of, send_problem
from mutx_guardrail_client.sse import SseError, SseEvent, SseReader
from mutx_guardrail_client.strict_json import JsonError, read_json, write_json

LARGEST_ANSWER_BYTES = 16 << 20
_ERROR, _SERVER_ERROR, _GOOD = 400, 500, range(200, 300)
_BODILESS = frozenset({204, 205, 304})
# Each says something of the bytes, which change.
_OF_THE_BYTES = frozenset(
    {
        b"content-length",
        b"etag",
        b"content-md5",
        b"digest",
        b"content-digest",
        b"repr-digest",
        b"accept-ranges",
    }
)


class _Body(Protocol):
    """Takes an answer's body part by part, and returns what may leave."""

    async def take(self, part: bytes, *, is_last: bool) -> bytes: ...

    def ending(self, problem: Problem) -> bytes | None:
        """Return what ends an answer that was begun; None where only a broken connection does."""


class GuardedResponse:
    """What one answer is sent by. After a refusal nothing of the application's leaves any more.

    Args:
        guard: judges.
        send: the server's.
        method: the request's.
        wholes: where texts are in a document; with no pointer and no `pieces`, answers pass as they are.
        pieces: where the next piece is in an event; None lets no stream pass.
    """

    def __init__(
        self, guard: AsyncGuardClient, send: Send, method: str, wholes: list[Pointer], pieces: Pointer | None
    ) -> None:
        self._guard, self._send, self._method = guard, send, method
        self._wholes, self._pieces = wholes, pieces
        self._passes = not wholes and pieces is None
        self._start: Message | None = None
        self._body: _Body | None = None
        self._has_begun = False
        self._status = 0
        self.is_refused = False
        self.cut: GuardError | None = None
        self._error: Exception | None = None

    def failure(self) -> Exception | None:
        """Return why the answer counts as a failure of the agent's; None where it does not."""
        return self._error or (Problem(self._status, "failed") if self._status >= _SERVER_ERROR else None)

    async def send(self, message: Message) -> None:
        """Send what the application says, judged."""
        if self.is_refused:
            return
        if message["type"] == "http.response.start":
            self._start, self._status = message, message["status"]
            if self._passes:
                await self._begin(changes=False)
        elif message["type"] == "http.response.body":
            await self._take(message)

    async def _take(self, message: Message) -> None:
        part, is_last = message.get("body", b""), not message.get("more_body", False)
        if self._passes:
            await self._send(message)
            return
        if self._is_bodiless() or (self._body is None and not part and is_last):
            await self._begin(changes=True)
            await self._send({**message, "body": b""})
            return
        error: Exception | None = None
        try:
            self._body = self._body or self._kind()
            leaves = await self._body.take(part, is_last=is_last)
        except (GuardError, Problem) as raised:
            error = raised
        if error is not None:
            await self._refuse(error)
        elif leaves or is_last:
            await self._begin(changes=True)
            await self._send({"type": "http.response.body", "body": leaves, "more_body": not is_last})

    def _is_bodiless(self) -> bool:
        return self._method == "HEAD" or self._status in _BODILESS

    def _kind(self) -> _Body:
        """Return what takes the body.

        Raises:
            Problem: nobody can judge it.
        """
        headers = {name.lower(): value for name, value in (self._start or {}).get("headers", [])}
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if headers.get(b"content-encoding", b"identity").lower() == b"identity":
            if media_type == b"application/json" or media_type.endswith(b"+json"):
                return _Document(self._guard, self._wholes, is_needed=self._status in _GOOD)
            if media_type == b"text/event-stream" and self._pieces is not None:
                return _Events(self._guard, self._pieces, self._wholes)
            # Starlette tells its own errors in plain text.
            if media_type == b"text/plain" and (self._pieces == () or self._status >= _ERROR):
                return _Plain(self._guard)
        raise Problem(502, "response-not-judged", "the answer is of a kind that is not judged here")

    async def _begin(self, *, changes: bool) -> None:
        if self._has_begun or self._start is None:
            return
        self._has_begun = True
        start = self._start
        if changes:
            kept = [each for each in start.get("headers", []) if each[0].lower() not in _OF_THE_BYTES]
            start = {**start, "headers": kept}
        await self._send(start)

    async def _refuse(self, error: Exception) -> None:
        self.is_refused, self._error = True, error
        problem = error if isinstance(error, Problem) else problem_of(_guard_error(error))
        if not self._has_begun:
            await send_problem(self._send, problem)
            return
        ending = self._body.ending(problem) if self._body else None
        if ending is None:
            self.cut = _guard_error(error)
            return
        await self._send({"type": "http.response.body", "body": ending, "more_body": False})


class _Document:
    """A JSON document, kept until it is whole."""

    def __init__(self, guard: AsyncGuardClient, pointers: list[Pointer], *, is_needed: bool) -> None:
        self._guard, self._pointers, self._is_needed = guard, pointers, is_needed
        self._body = bytearray()

    async def take(self, part: bytes, *, is_last: bool) -> bytes:
        self._body += part
        if len(self._body) > LARGEST_ANSWER_BYTES:
            raise Problem(502, "response-not-judged", "the answer is larger than is judged")
        return await self._judged() if is_last else b""

    def ending(self, _problem: Problem) -> None:
        return None

    async def _judged(self) -> bytes:
        try:
            box = [read_json(bytes(self._body))]
            texts = texts_at(box, self._pointers)
        except (JsonError, TooManyTextsError):
            raise Problem(502, "response-not-judged", "the answer cannot be read") from None
        if self._is_needed and not texts.is_found:
            raise Problem(502, "response-not-judged", "the answer has none of the texts that are judged here")
        await judge_texts(self._guard, texts, "output")
        try:
            return write_json(box[0])
        except JsonError:
            raise Problem(502, "response-not-judged", "the answer cannot be written") from None


class _Plain:
    """Plain text, shown as it is decided."""

    def __init__(self, guard: AsyncGuardClient) -> None:
        self._stream = guard.stream()
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    async def take(self, part: bytes, *, is_last: bool) -> bytes:
        text = None
        try:
            text = self._decoder.decode(part, is_last)
        except UnicodeDecodeError:
            text = None
        if text is None:
            raise GuardUnavailable("malformed")
        shown = await self._stream.feed(text)
        if is_last:
            shown += await self._stream.flush()
        return shown.encode("utf-8", "replace")

    def ending(self, _problem: Problem) -> None:
        return None


class _Events:
    """Server-sent events; one that is refused ends with an event `error`, whose data is the problem."""

    def __init__(self, guard: AsyncGuardClient, pieces: Pointer, wholes: list[Pointer]) -> None:
        self._reader, self._events = SseReader(), EventStream(guard, pieces, wholes)

    async def take(self, part: bytes, *, is_last: bool) -> bytes:
        try:
            events = self._reader.feed(part, is_last=is_last)
            leaves = [await self._events.push(event) for event in events]
            if is_last:
                leaves.append(await self._events.finish())
        except (SseError, TooManyTextsError, JsonError):
            raise Problem(502, "response-not-judged", "the stream cannot be read") from None
        return b"".join(leaves)

    def ending(self, problem: Problem) -> bytes:
        return SseEvent(("event: error",), json.dumps(problem.document)).encode()


def _guard_error(error: Exception) -> GuardError:
    return error if isinstance(error, GuardError) else GuardUnavailable("malformed")
