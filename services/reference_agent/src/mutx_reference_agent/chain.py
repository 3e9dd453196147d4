"""The agent itself: LangChain's tool loop around the tenant's model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Literal

import httpx2
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import InputAgentState
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool
from langgraph.errors import GraphRecursionError
from mutx_service.problem import Problem
from mutx_service.trace import span

from mutx_reference_agent.providers import build_model, problem_of
from mutx_reference_agent.run import Delta, Event, Finished, RunRequest, ToolUse
from mutx_reference_agent.settings import Settings
from mutx_reference_agent.tools import calculate, tell_time

_MODEL_NODE, _TOOL_NODE = "model", "tools"


class ChainAgent:
    """One agent, without memory between runs; safe for many runs at once."""

    def __init__(self, settings: Settings, transport: httpx2.AsyncBaseTransport) -> None:
        self._settings = settings
        self._graph = create_agent(
            build_model(settings, transport),
            tools=[StructuredTool.from_function(each) for each in (calculate, tell_time)],
            system_prompt=settings.purpose,
            middleware=[_NamedFailures(settings)],
        )

    async def run(self, request: RunRequest) -> AsyncGenerator[Event]:
        """Yield what happens, `Finished` last.

        Raises:
            Problem: the provider failed, or the run took too many steps.
        """
        modes: list[Literal["messages", "updates"]] = (
            ["messages", "updates"] if request.stream else ["updates"]
        )
        progress = _Progress()
        # Each step is a call of the model and one of the tools.
        config: RunnableConfig = {"recursion_limit": 2 * self._settings.limits.max_steps + 1}
        try:
            async with _ending_calls():
                async for mode, content in self._graph.astream(_input(request), config, stream_mode=modes):
                    for event in progress.take(mode, content):
                        yield event
        except GraphRecursionError:
            raise Problem("run-steps-exceeded") from None
        yield progress.finished()


@asynccontextmanager
async def _ending_calls() -> AsyncIterator[None]:
    """End the model's calls with the run: LangGraph 1.2 lets a cancelled run's step go on, and the tenant pays."""
    calls = _Calls()
    token = _CALLS.set(calls)
    try:
        yield
    finally:
        _CALLS.reset(token)
        await calls.end()


class _Calls:
    """The tasks in which a run calls the model."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._is_over = False

    async def end(self) -> None:
        """Cancel what runs, and let none begin: a step that was planned before the end may come to it after."""
        self._is_over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Count the current task as a call while this lasts."""
        task = asyncio.current_task()
        if self._is_over or task is None:
            raise asyncio.CancelledError
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)


_CALLS: ContextVar[_Calls | None] = ContextVar("calls_of_the_run", default=None)


class _Progress:
    """Turns LangGraph's stream into the contract's events, and keeps the sums."""

    def __init__(self) -> None:
        self._answers: list[AIMessage] = []

    def take(self, mode: str, content: object) -> list[Event]:
        if mode == "messages" and isinstance(content, tuple):
            return self._piece(content[0])
        events: list[Event] = []
        for node, update in content.items() if isinstance(content, dict) else ():
            messages = (update or {}).get("messages", [])
            if node == _MODEL_NODE:
                self._answers += [each for each in messages if isinstance(each, AIMessage)]
            if node == _TOOL_NODE:
                events += [
                    ToolUse(each.name or "", _tool_status(each))
                    for each in messages
                    if isinstance(each, ToolMessage)
                ]
        return events

    def _piece(self, chunk: object) -> list[Event]:
        text = str(chunk.text) if isinstance(chunk, AIMessageChunk) else ""
        return [Delta(len(self._answers) + 1, text)] if text else []

    def finished(self) -> Finished:
        usages = [each.usage_metadata for each in self._answers if each.usage_metadata]
        return Finished(
            output=str(self._answers[-1].text),
            steps=len(self._answers),
            input_tokens=sum(each["input_tokens"] for each in usages),
            output_tokens=sum(each["output_tokens"] for each in usages),
        )


class _NamedFailures(AgentMiddleware):
    """Gives each model call a span, and each of its failures the contract's name."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    async def awrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> ModelResponse:
        settings = self._settings
        names = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": settings.provider,
            "gen_ai.request.model": settings.model,
        }
        calls = _CALLS.get()
        if calls is None:
            raise RuntimeError("a model was called outside of a run")
        with span("chat", None, agent=settings.name, **names):
            try:
                async with calls.one():
                    response = await handler(request)
            except Exception as error:  # noqa: BLE001 - every one gets a name
                # Whatever a vendor's parser raises on an answer it did not expect ends up here as well.
                raise problem_of(error) from None
            _check_whole(response.result)
            return response


def _check_whole(messages: Sequence[object]) -> None:
    """Refuse an answer that broke off: a stream that just ends looks like a short answer otherwise."""
    last = messages[-1] if messages else None
    told = getattr(last, "response_metadata", {})
    if not isinstance(last, AIMessage) or not (told.get("finish_reason") or told.get("stop_reason")):
        raise Problem("provider-malformed", "the answer has no end")


def _input(request: RunRequest) -> InputAgentState:
    turns: list[AnyMessage] = [
        HumanMessage(turn.content) if turn.role == "user" else AIMessage(turn.content)
        for turn in request.history
    ]
    return {"messages": [*turns, HumanMessage(request.input)]}


def _tool_status(message: ToolMessage) -> str:
    is_error = message.status == "error" or str(message.content).startswith("error:")
    return "error" if is_error else "ok"
