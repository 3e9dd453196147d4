"""One run of an agent: admitted, judged, sent, its answer judged and learned from. Nothing unjudged goes either way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from mutx_service.journal import write_event
from mutx_service.problem import Problem
from mutx_service.trace import SpanContext, span

from mutx_guardrail.document import MOST_TURNS, Origin
from mutx_guardrail.known import Known
from mutx_guardrail.normalise.tokens import count_tokens
from mutx_guardrail.runs.agents import Agents, Answer
from mutx_guardrail.runs.answer import Completed, Delta, Started, ToolUse, parse_answer, problem_of
from mutx_guardrail.runs.pause import Pauses
from mutx_guardrail.runs.refusal import Refused, refuse, speaks_for_agent, without_texts
from mutx_guardrail.runs.request import RunRequest, document_of
from mutx_guardrail.runs.window import RefusedWindow, StreamedText, is_streamable
from mutx_guardrail.service.judging import Judging
from mutx_guardrail.sse import EventError, RawEvent, read_events, with_ticks
from mutx_guardrail.verdict import Check

TICK_S = 0.5
_PATH = "/v1/runs"

Emit = Callable[[str, dict[str, object]], Awaitable[None]]
"""Takes an event of a stream; it returns when there is room for the next."""


@dataclass(slots=True)
class _Asked:
    """A run on its way. `is_waiting` while the caller does not take what was said."""

    agent: str
    request: RunRequest
    run_id: str
    emit: Emit | None
    is_waiting: bool = False
    trace_id: str = ""
    traceparent: str = ""

    async def tell(self, event: str, document: dict[str, object]) -> None:
        if self.emit is not None:
            self.is_waiting = True
            await self.emit(event, document)
            self.is_waiting = False


@dataclass(frozen=True, slots=True)
class _Given:
    """What goes to the agent, and the verdict on the input without texts."""

    body: bytes = field(repr=False)
    verdict: dict[str, object]


class Runs:
    """Runs agents for callers.

    Args:
        judging: judges texts and watches agents.
        agents: the way to them.
        pauses: their own pauses.
        run_s: seconds that an agent has for a run.
    """

    def __init__(self, judging: Judging, agents: Agents, pauses: Pauses, run_s: float) -> None:
        self._judging, self._agents, self._pauses, self._run_s = judging, agents, pauses, run_s
        self._known = Known()

    async def perform(
        self,
        agent: str,
        run_id: str,
        request: RunRequest,
        parent: SpanContext,
        emit: Emit | None = None,
    ) -> dict[str, object]:
        """Run an agent to the end, and return the completed run's document; a stream's events go to `emit` before.

        Args:
            agent: one that this guard has a way to.
            run_id: what the run is called, to the agent too.
            request: what is asked.
            parent: where the run's span belongs.
            emit: None where nobody reads a stream.

        Raises:
            Problem: it was refused or failed.
        """
        asked = _Asked(agent, request, run_id, emit)
        began, status, reason = time.monotonic(), "defect", ""
        with span("guard", parent, agent=agent, stream=request.stream) as opened:
            asked.trace_id = opened.context.trace_id
            asked.traceparent = f"00-{asked.trace_id}-{opened.context.span_id}-01"
            try:
                document = await self._judged(asked)
                status = "completed"
            except Problem as problem:
                status = problem.code
                if isinstance(problem, Refused):
                    reason = str(problem.verdict.get("reason", ""))
                raise
            except asyncio.CancelledError:
                status = "hung-up"
                raise
            finally:
                self._tell_end(asked, status, reason, time.monotonic() - began)
        return document

    def _tell_end(self, asked: _Asked, status: str, reason: str, took_s: float) -> None:
        self._judging.metrics.count_run(asked.agent, status, took_s)
        write_event(
            "run",
            {
                "agent": asked.agent,
                "trace_id": asked.trace_id,
                "stream": asked.request.stream,
                "status": status,
                "allowed": not reason,
                "reason": reason,
                "duration_ms": round(took_s * 1_000, 1),
            },
        )

    async def _judged(self, asked: _Asked) -> dict[str, object]:
        admitted = await self._admit(asked)
        try:
            return await self._admitted(asked, admitted)
        except BaseException:
            # Where this was the probe and nothing was learned of the agent, the next request is.
            await self._judging.give_back(asked.agent, admitted)
            raise

    async def _admitted(self, asked: _Asked, admitted: Check) -> dict[str, object]:
        given = await self._judge_input(asked, admitted)
        try:
            completed = await self._within_time(asked, given.body)
        except Problem as problem:
            if (ok := speaks_for_agent(problem.code)) is not None:
                await self._judging.observe(asked.agent, 0, ok=ok, text="")
            raise
        return {
            "id": asked.run_id,
            "status": "completed",
            "trace_id": asked.trace_id,
            **await self._judge_output(asked.agent, completed, given.verdict),
        }

    async def _admit(self, asked: _Asked) -> Check:
        policy = self._judging.policy()
        self._known.adopt(policy.digest)
        if asked.request.stream and not is_streamable(policy.output_for(asked.agent).sink.kind):
            raise Problem("sink-not-streamable")
        admitted = await self._judging.admit(asked.agent)
        if not admitted.passed:
            verdict = self._judging.pipeline.refused(admitted)
            self._judging.metrics.count(verdict, "input")
            raise refuse(verdict, verdict.document(), "input-refused")
        return admitted

    async def _judge_input(self, asked: _Asked, admitted: Check) -> _Given:
        """Judge the texts of a request, the newest first: the input, then the history from its end.

        The history is the caller's word like the input, whichever role it names: an agent keeps none, so nothing shows
        that an `assistant` turn was ever said. All of it is held to what is expected of a user.
        """
        agent, request = asked.agent, asked.request
        earlier = _said_before(request, len(request.history))
        verdict = await self._judging.pipeline.input(request.input, agent, Origin.USER, earlier=earlier)
        verdict = verdict.with_checks([admitted])
        noted = await self._judging.note(verdict, agent, "input", request.input)
        if not verdict.allowed:
            raise refuse(verdict, noted, "input-refused", "input")
        turns = [await self._judge_turn(asked, at) for at in reversed(range(len(request.history)))]
        body = document_of(asked.run_id, request, verdict.sanitized, turns[::-1])
        return _Given(json.dumps(body, ensure_ascii=False).encode(), without_texts(noted))

    async def _judge_turn(self, asked: _Asked, at: int) -> str:
        agent, turn = asked.agent, asked.request.history[at]
        text, earlier = turn.content, _said_before(asked.request, at) if turn.role == "user" else []
        if self._known.has(agent, Origin.USER, text, earlier):
            return text
        verdict = await self._judging.pipeline.input(text, agent, Origin.USER, earlier=earlier)
        if not verdict.allowed:
            noted = await self._judging.note(verdict, agent, "input", text)
            raise refuse(verdict, noted, "input-refused", f"history.{at}")
        self._judging.metrics.count(verdict, "input")
        self._known.adopt(verdict.policy)
        if verdict.sanitized == text:
            self._known.add(agent, Origin.USER, text, earlier)
        return verdict.sanitized

    async def _within_time(self, asked: _Asked, body: bytes) -> Completed:
        try:
            async with asyncio.timeout(self._run_s):
                async with self._opened(asked, body) as answer:
                    if asked.request.stream:
                        return await self._follow(asked, answer)
                    completed = parse_answer(await answer.whole(), Completed)
                    return _of_this_run(asked, completed)
        except TimeoutError:
            raise Problem("caller-slow" if asked.is_waiting else "agent-timeout") from None

    @asynccontextmanager
    async def _opened(self, asked: _Asked, body: bytes) -> AsyncIterator[Answer]:
        """Send the run. An agent still paused by this guard's own pause, which is over, goes on and is asked again."""
        headers = {"traceparent": asked.traceparent}
        async with AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(
                    self._agents.call(asked.agent, "POST", _PATH, body, headers)
                )
            except Problem as problem:
                if problem.code != "agent-paused" or not await self._pauses.lift_own(asked.agent):
                    raise
                answer = await stack.enter_async_context(
                    self._agents.call(asked.agent, "POST", _PATH, body, headers)
                )
            yield answer

    async def _follow(self, asked: _Asked, answer: Answer) -> Completed:
        """Pass a stream on as it is judged, up to its end, whose output is judged elsewhere."""
        limit = self._judging.policy().output_for(asked.agent).token_limit.max_tokens
        text = StreamedText(self._judging.pipeline, asked.agent, limit)
        try:
            async with (
                aclosing(answer.parts()) as parts,
                aclosing(read_events(parts)) as events,
                aclosing(with_ticks(events, TICK_S)) as ticking,
            ):
                async for event in ticking:
                    if event is None:
                        await _release(asked, await text.tick())
                    elif (completed := await self._take(asked, event, text)) is not None:
                        return completed
        except EventError:
            raise Problem("agent-malformed") from None
        except RefusedWindow as refused:
            noted = await self._judging.note(refused.verdict, asked.agent, "output", refused.text)
            raise refuse(refused.verdict, noted, "output-refused") from None
        raise Problem("agent-malformed", "the stream broke off")

    async def _take(self, asked: _Asked, event: RawEvent, text: StreamedText) -> Completed | None:
        content = event.data.encode()
        match event.name:
            case "started":
                if parse_answer(content, Started).id != asked.run_id:
                    raise Problem("agent-malformed", "the run is another one")
                await asked.tell("started", {"id": asked.run_id})
            case "delta":
                await _release(asked, await text.add(parse_answer(content, Delta)))
            case "tool":
                used = parse_answer(content, ToolUse)
                await _release(asked, await text.close())
                await asked.tell("tool", used.model_dump())
            case "completed":
                completed = _of_this_run(asked, parse_answer(content, Completed))
                await _release(asked, await text.close(completed.output))
                return completed
            case "failed":
                raise problem_of(content, 0)
            case _:
                raise Problem("agent-malformed", "an event is unknown")
        return None

    async def _judge_output(
        self, agent: str, completed: Completed, given: dict[str, object]
    ) -> dict[str, object]:
        verdict = await self._judging.pipeline.output(completed.output, agent)
        # What no layer could judge is not the agent's error.
        is_error = not verdict.allowed and refuse(verdict, {}, "output-refused").code == "output-refused"
        tokens = await asyncio.to_thread(count_tokens, completed.output)
        learned = await self._judging.observe(agent, tokens, ok=not is_error, text=completed.output)
        verdict = verdict.with_checks(learned)
        noted = await self._judging.note(verdict, agent, "output", completed.output)
        if not verdict.allowed:
            raise refuse(verdict, noted, "output-refused")
        return {
            "output": verdict.sanitized,
            **completed.model_dump(include={"steps", "input_tokens", "output_tokens"}),
            "guard": {"input": given, "output": without_texts(noted)},
        }


async def _release(asked: _Asked, deltas: list[Delta]) -> None:
    for delta in deltas:
        await asked.tell("delta", delta.model_dump())


def _said_before(request: RunRequest, at: int) -> list[str]:
    """Return the user's turns before one of the history."""
    return [turn.content for turn in request.history[:at] if turn.role == "user"][-MOST_TURNS:]


def _of_this_run(asked: _Asked, completed: Completed) -> Completed:
    if completed.id != asked.run_id:
        raise Problem("agent-malformed", "the run is another one")
    return completed
