"""ASGI middleware (Starlette, FastAPI): named texts of requests and answers pass the guard, or nothing does.

Only what an endpoint's pointers name is judged. A body that has none of it, or that cannot be read, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mutx_guardrail_client.aio import AsyncGuardClient
from mutx_guardrail_client.asgi_response import GuardedResponse
from mutx_guardrail_client.errors import GuardError
from mutx_guardrail_client.fields import TooManyTextsError, parse_pointer, texts_at
from mutx_guardrail_client.judging import judge_texts
from mutx_guardrail_client.outcome import Outcome
from mutx_guardrail_client.problem import Problem, problem_of, send_problem
from mutx_guardrail_client.strict_json import Json, JsonError, read_json, write_json

__all__ = ["Endpoint", "GuardMiddleware"]

LARGEST_BODY_BYTES = 1 << 20
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_POLICY_VIOLATION = 1008
# An answer that is packed, or a part of one, could not be judged.
_NOT_ASKED_FOR = frozenset(
    {b"accept-encoding", b"range", b"if-range", b"content-length", b"transfer-encoding"}
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is judged of one path.

    Attributes:
        path: as in a route, `{name}` stands for one segment.
        request: JSON pointers to the texts of a request's body; none judges no request.
        response: JSON pointers to the texts of an answer's body, or of an event's data that are wholes by themselves.
        stream: for answers that are streamed: the pointer to the next piece of text in an event's data; the empty
            pointer for data that is the text itself, and for plain text. None lets no stream pass.
    """

    path: str
    request: tuple[str, ...] = ()
    response: tuple[str, ...] = ()
    stream: str | None = None


class GuardMiddleware:
    """Guards the endpoints that are named; others pass as they are.

    Raises:
        PointerError: a pointer is none.
    """

    def __init__(self, app: ASGIApp, guard: AsyncGuardClient, endpoints: Sequence[Endpoint]) -> None:
        self._app, self._guard = app, guard
        self._rules = [_Rule(each) for each in endpoints]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        rule = next((each for each in self._rules if each.is_for(scope)), None)
        if rule is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(rule, scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    async def _serve(self, rule: _Rule, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._judged_request(rule, scope, receive)
        except Problem as refused:
            problem = refused
        except GuardError as error:
            problem = problem_of(error)
        else:
            await self._run(rule, _inner_scope(scope, body), _Replay(body, receive), send)
            return
        await send_problem(send, problem)

    async def _judged_request(self, rule: _Rule, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body that the application gets; None where it is not looked at."""
        if not rule.request:
            return None
        body = await _read(receive)
        if not body and scope["method"] in _WITHOUT_BODY:
            return body
        headers = dict(scope["headers"])
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if not _is_json(media_type) or b"content-encoding" in headers:
            raise Problem(415, "media-type", "the body must be application/json")
        box = [_parsed(body)]
        try:
            texts = texts_at(box, rule.request)
        except TooManyTextsError:
            raise Problem(422, "request-not-judged", "the body has too many texts") from None
        if not texts.is_found:
            raise Problem(422, "request-not-judged", "the body has none of the texts that are judged here")
        await judge_texts(self._guard, texts, "input")
        return _written(box[0])

    async def _run(self, rule: _Rule, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with its answers guarded, and tell the guard how it ended."""
        response = GuardedResponse(self._guard, send, scope["method"], rule.response, rule.stream)
        outcome, error = Outcome(self._guard.agent), None
        outcome.begin()
        try:
            await self._app(scope, receive, response.send)
        except Exception as raised:
            error = raised
            if not response.is_refused:
                raise
        finally:
            ok = outcome.end(error or response.failure())
            if ok is not None:
                await self._guard._report(ok)
        if response.cut is not None:
            # Only a connection that breaks tells a reader of plain text that it was not all.
            raise response.cut


class _Rule:
    """An endpoint, read."""

    def __init__(self, endpoint: Endpoint) -> None:
        parts = re.split(r"\{[^{}/]+\}", endpoint.path)
        # Starlette's own patterns end in `$`, which lets a line end follow.
        self._path = re.compile("[^/]+".join(re.escape(part) for part in parts) + r"\n?")
        self.request = [parse_pointer(each) for each in endpoint.request]
        self.response = [parse_pointer(each) for each in endpoint.response]
        self.stream = None if endpoint.stream is None else parse_pointer(endpoint.stream)

    def is_for(self, scope: Scope) -> bool:
        if scope["type"] not in {"http", "websocket"}:
            return False
        path: str = scope["path"]
        root = scope.get("root_path", "")
        inner = path.removeprefix(root) if root and path.startswith(f"{root}/") else path
        return any(self._path.fullmatch(each) is not None for each in (path, inner))


class _Replay:
    """Gives the application the judged body, then what the server says."""

    def __init__(self, body: bytes | None, receive: Receive) -> None:
        self._body, self._receive = body, receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Problem(400, "http-invalid", "the caller hung up")
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY_BYTES:
            raise Problem(413, "body-too-large", f"at most {LARGEST_BODY_BYTES} bytes are taken")
        if not message.get("more_body", False):
            return bytes(body)


def _inner_scope(scope: Scope, body: bytes | None) -> Scope:
    """Return what the application is told: the new length, nothing that lets it answer past the guard."""
    dropped = (
        _NOT_ASKED_FOR if body is not None else _NOT_ASKED_FOR - {b"content-length", b"transfer-encoding"}
    )
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in dropped]
    if body is not None:
        headers.append((b"content-length", str(len(body)).encode()))
    return {**scope, "headers": headers, "extensions": {}}


def _is_json(media_type: bytes) -> bool:
    return media_type == b"application/json" or media_type.endswith(b"+json")


def _parsed(body: bytes) -> Json:
    try:
        return read_json(body)
    except JsonError:
        raise Problem(422, "request-invalid", "the body is no JSON, or a name comes twice") from None


def _written(document: Json) -> bytes:
    try:
        return write_json(document)
    except JsonError:
        raise Problem(422, "request-invalid", "the body has a number that is none, or is too deep") from None
