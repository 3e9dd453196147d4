"""A run as server-sent events: each piece leaves as it comes, and a quiet stream says that it lives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict

from mutx_service.problem import Problem
from starlette.responses import StreamingResponse

from mutx_reference_agent.problem import KINDS
from mutx_reference_agent.run import Delta, Event, Finished, ToolUse

KEEP_ALIVE_S = 15.0
MOST_WAITING = 64
"""Events that wait for a slow reader; then the run waits too, and its time goes on."""

Emit = Callable[[Event, str], Awaitable[None]]
Message = tuple[str, dict[str, object]]


def stream_events(
    run_id: str,
    perform: Callable[[Emit], Awaitable[object]],
    on_end: Callable[[], None],
    *,
    keep_alive_s: float = KEEP_ALIVE_S,
) -> StreamingResponse:
    """Answer with `started`, then what happens, then `completed` or `failed`.

    The run begins here and not with the first read: `on_end` is called even when the caller is gone before.
    """
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    messages: asyncio.Queue[Message | None] = asyncio.Queue(MOST_WAITING)
    running = asyncio.create_task(_perform(run_id, perform, messages))
    running.add_done_callback(lambda _: on_end())
    lines = _events(run_id, running, messages, keep_alive_s)
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


async def _events(
    run_id: str, running: asyncio.Task[None], messages: asyncio.Queue[Message | None], keep_alive_s: float
) -> AsyncIterator[bytes]:
    try:
        yield _line("started", {"id": run_id})
        while True:
            try:
                message = await asyncio.wait_for(messages.get(), keep_alive_s)
            except TimeoutError:
                yield b": alive\n\n"
                continue
            if message is None:
                return
            yield _line(*message)
    finally:
        # The reader is gone or the stream has ended: nobody pays for a run that nobody reads.
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _perform(
    run_id: str, perform: Callable[[Emit], Awaitable[object]], messages: asyncio.Queue[Message | None]
) -> None:
    trace_ids: list[str] = []

    async def emit(event: Event, trace_id: str) -> None:
        trace_ids[:] = [trace_id]
        await messages.put(_message(run_id, event, trace_id))

    try:
        await perform(emit)
    except Problem as problem:
        failed = {"id": run_id, **problem.document(KINDS, "".join(trace_ids))}
        await messages.put(("failed", failed))
    await messages.put(None)


def _message(run_id: str, event: Event, trace_id: str) -> Message:
    match event:
        case Delta():
            return "delta", asdict(event)
        case ToolUse():
            return "tool", asdict(event)
        case Finished():
            return "completed", {"id": run_id, "status": "completed", "trace_id": trace_id, **asdict(event)}


def _line(event: str, content: dict[str, object]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(content)}\n\n".encode()
