"""A run as server-sent events: it goes on beside its reader, whose slowness it waits for and whose end is its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from mutx_service.journal import describe_exception, write_event
from mutx_service.problem import Problem
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from mutx_guardrail.runs.run import Emit
from mutx_guardrail.sse import RawEvent
from mutx_guardrail.sse import write_event as write_line

KEEP_ALIVE_S = 15.0
MOST_WAITING = 64
"""Events that wait for a slow reader; then the run waits too, and its time goes on."""
LAST_WORD_S = 60.0
"""How long the last event waits for room; a reader that takes nothing for so long finds a stream that broke off."""

Message = tuple[str, dict[str, object]]
_Messages = asyncio.Queue["Message | Problem | None"]
_T = TypeVar("_T")


class CallerGone(Exception):  # noqa: N818 - the state of a connection
    """The caller hung up before there was an answer."""


class EventStream(StreamingResponse):
    """The answer to a run that is streamed.

    Args:
        lines: the events; closed with the answer, however that ends.
    """

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(lines, media_type="text/event-stream", headers=headers)
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the reader hangs up."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._lines.aclose()


async def stream_run(
    request: Request,
    perform: Callable[[Emit], Awaitable[dict[str, object]]],
    tell_failure: Callable[[Problem], dict[str, object]],
    on_end: Callable[[], None],
    *,
    keep_alive_s: float = KEEP_ALIVE_S,
    last_word_s: float = LAST_WORD_S,
) -> EventStream:
    """Begin a run, and answer with its events once there is one.

    Args:
        request: of the caller; its end ends the run.
        perform: runs, handing each event on; its result is the last event's document.
        tell_failure: returns the document of `failed`, the last event where a problem ended the run.
        on_end: is called when the run has ended.
        keep_alive_s: seconds of silence after which a comment is sent.
        last_word_s: seconds that the last event may wait for its reader.

    Raises:
        Problem: the run ended before it had begun to answer.
        CallerGone: the caller hung up before that.
    """
    messages: _Messages = asyncio.Queue(MOST_WAITING)
    running = asyncio.create_task(_perform(perform, tell_failure, messages, last_word_s))
    running.add_done_callback(lambda _: on_end())
    try:
        first = await until_hung_up(request, messages.get())
    except BaseException:
        await _end(running)
        raise
    if isinstance(first, Problem):
        raise first
    lines = _lines(first, running, messages, keep_alive_s)
    # A generator that was never begun would not end the run.
    await anext(lines)
    return EventStream(lines)


async def until_hung_up(request: Request, what: Awaitable[_T]) -> _T:
    """Return what comes of `what`, unless the caller hangs up before.

    Raises:
        CallerGone: it hung up, and `what` was ended.
    """
    coming = asyncio.ensure_future(what)
    gone = asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not coming.done():
            await _end(coming)
    if coming.cancelled():
        raise CallerGone
    return coming.result()


async def _perform(
    perform: Callable[[Emit], Awaitable[dict[str, object]]],
    tell_failure: Callable[[Problem], dict[str, object]],
    messages: _Messages,
    last_word_s: float,
) -> None:
    has_begun = False

    async def emit(event: str, document: dict[str, object]) -> None:
        nonlocal has_begun
        has_begun = True
        await messages.put((event, document))

    last: Message | Problem
    try:
        last = ("completed", await perform(emit))
    except Exception as error:  # noqa: BLE001 - the task's edge: a defect is logged without its words, and told as one
        if not isinstance(error, Problem):
            write_event("defect", describe_exception(type(error), error.__traceback__))
        problem = error if isinstance(error, Problem) else Problem("defect")
        last = ("failed", tell_failure(problem)) if has_begun else problem
    with suppress(TimeoutError):
        async with asyncio.timeout(last_word_s):
            await messages.put(last)
            await messages.put(None)


async def _lines(
    first: Message | None,
    running: asyncio.Task[None],
    messages: _Messages,
    keep_alive_s: float,
) -> AsyncGenerator[bytes, None]:
    try:
        yield b""
        message: Message | Problem | None = first
        while isinstance(message, tuple):
            yield _line(*message)
            while True:
                try:
                    message = await asyncio.wait_for(messages.get(), keep_alive_s)
                    break
                except TimeoutError:
                    if running.done():
                        return
                    yield b": alive\n\n"
    finally:
        # The reader is gone or the stream has ended: nobody pays for a run that nobody reads.
        await _end(running)


async def _end(task: asyncio.Future[_T]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _line(event: str, document: dict[str, object]) -> bytes:
    return write_line(RawEvent(event, json.dumps(document, ensure_ascii=False)))
