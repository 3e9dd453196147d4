# ruff: noqa: ANN401 - LangChain's own signatures
"""A chat model whose every call is guarded, also where LangChain streams, traces or emits events.

The model behind it is called without callbacks: tracers, event streams and LangGraph hear of this model alone, and so
of judged text alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field

from mutx_guardrail_client.conversation import Conversation
from mutx_guardrail_client.errors import Refused
from mutx_guardrail_client.model_answer import NOT_JUDGED, plain_metadata, plain_name, text_of, without_text
from mutx_guardrail_client.strict_json import write_json
from mutx_guardrail_client.window import STEP

Messages = list[BaseMessage]


class GuardedChatModel(BaseChatModel):
    """Sends judged messages to a model, and returns its judged answer. Made by `guarded`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inner: BaseChatModel = Field(exclude=True, repr=False)
    conversation: Conversation = Field(exclude=True, repr=False)

    @property
    def _llm_type(self) -> str:
        return f"guarded-{self.inner._llm_type}"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Any | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools as the model behind does, with the guard kept before it."""
        bound = self.inner.bind_tools(tools, **kwargs)
        if not isinstance(bound, RunnableBinding) or not isinstance(bound.bound, BaseChatModel):
            raise TypeError(f"{self.inner._llm_type} binds tools in a way that cannot be guarded")
        return RunnableBinding(
            bound=around(bound.bound, self.conversation), kwargs=bound.kwargs, config=bound.config
        )

    def _generate(
        self,
        messages: Messages,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - it would hear of what was not judged
        **kwargs: Any,
    ) -> ChatResult:
        result = self.inner._generate(self.conversation.messages(messages), stop=stop, **kwargs)
        return self._judged(result)

    async def _agenerate(
        self,
        messages: Messages,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - as above
        **kwargs: Any,
    ) -> ChatResult:
        judged = await asyncio.to_thread(self.conversation.messages, messages)
        result = await self.inner._agenerate(judged, stop=stop, **kwargs)
        return await asyncio.to_thread(self._judged, result)

    def _stream(
        self,
        messages: Messages,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if type(self.inner)._stream is BaseChatModel._stream:
            yield _as_chunk(self._generate(messages, stop, run_manager, **kwargs))
            return
        judged = self.conversation.messages(messages)
        pieces = _Pieces(self.conversation)
        for chunk in self.inner._stream(judged, stop=stop, **kwargs):
            if (piece := pieces.take(chunk)) is not None:
                yield piece
        yield pieces.last()

    async def _astream(
        self,
        messages: Messages,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        kind = type(self.inner)
        if kind._astream is BaseChatModel._astream and kind._stream is BaseChatModel._stream:
            yield _as_chunk(await self._agenerate(messages, stop, run_manager, **kwargs))
            return
        judged = await asyncio.to_thread(self.conversation.messages, messages)
        pieces = _Pieces(self.conversation)
        async for chunk in self.inner._astream(judged, stop=stop, **kwargs):
            if (piece := await asyncio.to_thread(pieces.take, chunk)) is not None:
                yield piece
        yield await asyncio.to_thread(pieces.last)

    def _judged(self, result: ChatResult) -> ChatResult:
        generations = []
        for each in result.generations:
            if not isinstance(each.message, AIMessage):
                raise Refused(NOT_JUDGED, details="the model answered with another kind of message")
            generations.append(ChatGeneration(message=self.conversation.answer(each.message)))
        return ChatResult(generations=generations, llm_output=plain_metadata(result.llm_output or {}))


def around(model: BaseChatModel, conversation: Conversation) -> GuardedChatModel:
    """Return a model with the guard before it; one that has it already as it is."""
    if isinstance(model, GuardedChatModel):
        return model
    return GuardedChatModel(
        inner=model,
        conversation=conversation,
        # A cache would answer without the guard having been asked.
        cache=False,
        disable_streaming=model.disable_streaming,
        rate_limiter=model.rate_limiter,
        profile=model.profile,
    )


class _Pieces:
    """One answer that is being streamed: its text by windows, all else at its end."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._stream = conversation.guard.stream(STEP)
        self._chunks: list[AIMessageChunk] = []
        self._shown: list[str] = []

    def take(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk | None:
        """Return what may be shown after a chunk; often nothing."""
        message = chunk.message
        if not isinstance(message, AIMessageChunk):
            raise Refused(NOT_JUDGED, details="the model answered with another kind of message")
        self._chunks.append(message)
        shown = self._stream.feed(text_of(message))
        self._shown.append(shown)
        piece = AIMessageChunk(content=shown, id=plain_name(message.id))
        return ChatGenerationChunk(message=piece) if shown else None

    def last(self) -> ChatGenerationChunk:
        """Return the last piece with all that is no text, once the whole was judged."""
        if not self._chunks:
            return ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))
        whole = add_ai_message_chunks(self._chunks[0], *self._chunks[1:])
        rest = self._stream.flush() if any(text_of(each) for each in self._chunks) else ""
        self._conversation.remember("".join([*self._shown, rest]))
        beside = self._conversation.answer(without_text(whole))
        blocks: Any = beside.content
        return _chunk([{"type": "text", "text": rest}, *blocks] if blocks else rest, beside)


def _chunk(content: Any, message: AIMessage) -> ChatGenerationChunk:
    """Return the last chunk of an answer: some content, and all else of a message."""
    calls = [
        tool_call_chunk(name=each["name"], args=write_json(each["args"]).decode(), id=each["id"], index=at)
        for at, each in enumerate(message.tool_calls)
    ]
    broken = [
        tool_call_chunk(name=each["name"], args=each["args"], id=each["id"], index=len(calls) + at)
        for at, each in enumerate(message.invalid_tool_calls)
    ]
    return ChatGenerationChunk(
        message=AIMessageChunk(
            content=content, tool_call_chunks=[*calls, *broken], usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata, id=message.id, chunk_position="last",
        )
    )  # fmt: skip


def _as_chunk(result: ChatResult) -> ChatGenerationChunk:
    message = result.generations[0].message
    if not isinstance(message, AIMessage):
        raise Refused(NOT_JUDGED, details="the model answered with another kind of message")
    return _chunk(message.content, message)
