"""The judged way to a provider, for an agent that knows nothing of it but another base URL.

`/<provider>/…` is the provider's API. Each call is read whole, judged, recorded, made, and its answer judged on the way
back, whole or as a stream.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

import h11
import httpx2
from mutx_service.journal import write_event as log_event
from mutx_service.problem import Problem
from mutx_service.strict_json import Json, JsonError, read_json, write_json

from mutx_guardrail.egress.dialect import DIALECTS, DONE, Dialect
from mutx_guardrail.egress.judge import Judge
from mutx_guardrail.egress.problem import KINDS
from mutx_guardrail.egress.record import Record, Write
from mutx_guardrail.egress.refusal import Refusal
from mutx_guardrail.egress.rules import Rules
from mutx_guardrail.egress.settings import Bounds
from mutx_guardrail.egress.texts import Part, answer_texts, request_texts
from mutx_guardrail.egress.upstream import BAD_GATEWAY, Upstream, headers_back, raw_parts, read_whole
from mutx_guardrail.egress.window import Waiting, Windows
from mutx_guardrail.egress.wire import Gone, Wire
from mutx_guardrail.sse import EventError, RawEvent, read_events, with_ticks, write_event

TICK_S = 0.5
NOT_FOUND, FORBIDDEN, UNAVAILABLE = 404, 403, 503
_TARGET = re.compile(r"/([a-z0-9-]{1,63})((?:/[a-z0-9_-]{1,32}){1,4})(\?[A-Za-z0-9_.=&-]{1,200})?")
_SMALL = 64 * 1024
_MODEL = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}")


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was asked for; `document` is its parsed body, None for GET, and `path` is below the base URL."""

    agent: str
    provider: str
    dialect: Dialect
    method: str
    path: str
    headers: Mapping[str, str]
    document: dict[str, Json] | None
    texts: Sequence[Part] = ()

    @property
    def model(self) -> str:
        """The provider's name of the model; empty where there is none."""
        return str(self.document.get("model", "")) if self.document else ""


class Proxy:
    """Answers the calls of agents."""

    def __init__(
        self, rules: Rules, upstreams: Mapping[str, Upstream], judge: Judge, bounds: Bounds, write: Write
    ) -> None:
        self._rules, self._upstreams, self._judge = rules, upstreams, judge
        self._bounds, self._write = bounds, write

    async def serve(self, wire: Wire, agent: str, request: h11.Request) -> None:
        """Answer one call, also one that is refused.

        Raises:
            Problem: it names no provider's path.
            Gone: the agent has hung up.
        """
        provider, path = self._route(request)
        dialect = DIALECTS[self._rules.providers[provider].dialect]
        try:
            call = await self._read(wire, agent, request, provider, path)
            await self._until_hung_up(wire, self._perform(wire, call))
        except Refusal as refusal:
            await self._refuse(wire, agent, dialect, refusal)
        except Problem as problem:
            kind = KINDS[problem.code]
            code, message = problem.code.replace("-", "_"), problem.detail or kind.title
            await self._refuse(wire, agent, dialect, Refusal(code, message, kind.status))

    @staticmethod
    async def _refuse(wire: Wire, agent: str, dialect: Dialect, refusal: Refusal) -> None:
        """Tell a refusal in the provider's form, unless a stream has told it."""
        log_event("egress-refused", {"agent": agent, "code": refusal.code})
        if not wire.has_answered:
            headers = {"content-type": "application/json", "x-should-retry": "false"}
            await wire.answer(refusal.status, write_json(dialect.error(refusal)), headers)

    def _route(self, request: h11.Request) -> tuple[str, str]:
        found = _TARGET.fullmatch(request.target.decode("ascii", "replace"))
        if found is None or found[1] not in self._rules.providers:
            raise Problem("not-found")
        dialect = DIALECTS[self._rules.providers[found[1]].dialect]
        # A client of OpenAI is given a base URL that ends in /v1, one of Anthropic's a base without it.
        path = found[2].removeprefix("/v1") if dialect.name == "openai" else found[2]
        if path not in dialect.paths:
            raise Problem("not-found")
        if request.method.decode("ascii") != dialect.paths[path]:
            raise Problem("method-not-allowed")
        return found[1], path + (found[3] or "")

    async def _read(self, wire: Wire, agent: str, request: h11.Request, provider: str, path: str) -> Call:
        body = await wire.body(self._bounds.request_bytes)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        if provider not in self._rules.agents[agent].providers:
            raise Refusal("provider_not_permitted", f"{agent} may not call {provider}", FORBIDDEN)
        method = request.method.decode("ascii")
        document, texts = None, list[Part]()
        if method == "POST":
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise Refusal("request_invalid", "the body must be application/json")
            document, texts = await _understand(body, self._rules.agents[agent].unjudged)
        elif body:
            raise Refusal("request_invalid", "this call has no body")
        dialect = DIALECTS[self._rules.providers[provider].dialect]
        return Call(agent, provider, dialect, method, path, headers, document, texts)

    async def _perform(self, wire: Wire, call: Call) -> None:
        await self._judge.admit(call.agent)
        content = b""
        if call.document is not None:
            await self._judge.request(call.texts, call.agent)
            content = write_json(call.document)
        fields = {"agent": call.agent, "provider": call.provider, "model": call.model}
        record, status = Record("llm-call", fields, self._write), "cancelled"
        counted = _Counted()
        try:
            upstream = self._upstreams[call.provider]
            async with upstream.call(call.method, call.path, call.headers, content) as response:
                status = str(response.status_code)
                await self._answer(wire, call, response, counted)
        except Refusal as refusal:
            status = refusal.code
            raise
        except Gone:
            status = "hung-up"
            raise
        finally:
            record.end(
                int(status) if status.isdigit() else status, bytes_out=len(content), bytes_in=counted.received
            )

    async def _answer(self, wire: Wire, call: Call, response: httpx2.Response, counted: _Counted) -> None:
        headers = headers_back(response)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            stream = _Stream(call, self._judge, self._rules.agents[call.agent].unjudged, self._bounds)
            await wire.begin(response.status_code, {**headers, "cache-control": "no-store"})
            await stream.pass_on(wire, counted.of(raw_parts(response)))
            return
        content = await read_whole(response, self._bounds.answer_bytes)
        counted.received += len(content)
        try:
            document = read_json(content)
        except JsonError as error:
            raise Refusal("answer_not_judged", f"the provider's answer {error}", BAD_GATEWAY) from None
        if not isinstance(document, dict):
            raise Refusal("answer_not_judged", "the provider's answer is no object", BAD_GATEWAY)
        await self._judge.answer(answer_texts(document, self._rules.agents[call.agent].unjudged), call.agent)
        await wire.answer(response.status_code, write_json(document), headers)

    async def _until_hung_up(self, wire: Wire, performing: Coroutine[None, None, None]) -> None:
        """Perform a call, and end it when the agent hangs up: nobody pays for what nobody reads."""
        call = asyncio.create_task(performing)
        hung_up = asyncio.create_task(wire.hang_up())
        try:
            await asyncio.wait({call, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hung_up.cancel()
            with suppress(asyncio.CancelledError, Gone):
                await hung_up
            if not call.done():
                call.cancel()
                with suppress(asyncio.CancelledError, Refusal, Gone):
                    await call
        if call.cancelled():
            raise Gone
        call.result()


@dataclass(slots=True)
class _Counted:
    """Counts what a provider sent."""

    received: int = 0

    async def of(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in parts:
            self.received += len(part)
            yield part


class _Stream:
    """Passes a stream of events on, each when its text was judged."""

    def __init__(self, call: Call, judge: Judge, unjudged: frozenset[str], bounds: Bounds) -> None:
        self._call, self._judge, self._unjudged, self._bounds = call, judge, unjudged, bounds

        async def output(text: str) -> str:
            return await judge.output(text, call.agent)

        self._windows = Windows(call.dialect, output, bounds.window, bounds.answer_bytes)

    async def pass_on(self, wire: Wire, parts: AsyncIterator[bytes]) -> None:
        """Send what may pass, and end the answer; a refused one with an error event.

        Raises:
            Refusal: after the answer was ended.
        """
        try:
            async with (
                aclosing(read_events(parts)) as events,
                aclosing(with_ticks(events, TICK_S)) as ticking,
            ):
                async for event in ticking:
                    await self._send(wire, await (self._take(event) if event else self._windows.tick()))
            await self._send(wire, await self._windows.finish())
        except Refusal as refusal:
            await self._end_refused(wire, refusal)
            raise
        except (EventError, JsonError) as error:
            unreadable = Refusal("answer_not_judged", f"the provider's answer {error}", BAD_GATEWAY)
            await self._end_refused(wire, unreadable)
            raise unreadable from None
        await wire.end()

    async def _end_refused(self, wire: Wire, refusal: Refusal) -> None:
        await wire.part(self._call.dialect.error_event(refusal))
        await wire.end()

    async def _take(self, event: RawEvent) -> list[Waiting]:
        if event.data == DONE.data:
            return [*await self._windows.finish(), *await self._windows.push(Waiting(event.name, None), [])]
        document = read_json(event.data.encode())
        if not isinstance(document, dict):
            raise JsonError("an event is no object")
        deltas = self._call.dialect.deltas(document)
        skip = {(id(delta.node), delta.name) for delta in deltas}
        await self._judge.answer(answer_texts(document, self._unjudged, skip), self._call.agent)
        return await self._windows.push(Waiting(event.name, document), deltas)

    async def _send(self, wire: Wire, events: list[Waiting]) -> None:
        for event in events:
            data = DONE.data if event.document is None else write_json(event.document).decode()
            await wire.part(write_event(RawEvent(event.name, data)))


async def _understand(body: bytes, unjudged: frozenset[str]) -> tuple[dict[str, Json], list[Part]]:
    """Return a body's document and its texts; a large one is read beside the loop, which others wait for."""

    def understand() -> tuple[dict[str, Json], list[Part]]:
        document = _document(body)
        return document, request_texts(document, unjudged)

    return await asyncio.to_thread(understand) if len(body) > _SMALL else understand()


def _document(body: bytes) -> dict[str, Json]:
    try:
        found = read_json(body)
    except JsonError as error:
        raise Refusal("request_invalid", f"the body {error}") from None
    if not isinstance(found, dict):
        raise Refusal("request_invalid", "the body is no object")
    model = found.get("model")
    if not isinstance(model, str) or not _MODEL.fullmatch(model):
        raise Refusal("request_invalid", "the body names no model")
    return found
