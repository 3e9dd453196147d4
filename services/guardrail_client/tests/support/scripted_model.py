"""A chat model that says what a test wrote, whole or word by word, and keeps what it was sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict, Field


class ScriptedModel(BaseChatModel):
    """Gives its answers one by one."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    answers: list[AIMessage]
    sent: list[list[BaseMessage]] = Field(default_factory=list)
    tools: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        self.tools[:] = tools
        return self.bind(**kwargs)

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.sent.append(list(messages))
        answer = self.answers.pop(0)
        if run_manager is not None:
            run_manager.on_llm_new_token(str(answer.content))
        return ChatResult(generations=[ChatGeneration(message=answer)], llm_output={"model_name": "m"})


class StreamingModel(ScriptedModel):
    """The same, word by word."""

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.sent.append(list(messages))
        answer = self.answers.pop(0)
        for word in re.findall(r"\S+\s*|\s+", str(answer.content)):
            yield self._told(AIMessageChunk(content=word, id="answer-1"), run_manager)
        for at, call in enumerate(answer.tool_calls):
            args = re.findall(r".{1,5}", answer.additional_kwargs["raw"][at])
            for index, part in enumerate(args):
                named = {"name": call["name"], "id": call["id"]} if index == 0 else {"name": None, "id": None}
                chunk = AIMessageChunk(
                    content="", tool_call_chunks=[tool_call_chunk(args=part, index=at, **named)]
                )
                yield self._told(chunk, run_manager)

    def _told(self, message: AIMessageChunk, run_manager: Any) -> ChatGenerationChunk:
        if run_manager is not None:
            run_manager.on_llm_new_token(str(message.content), chunk=ChatGenerationChunk(message=message))
        return ChatGenerationChunk(message=message)


class Eavesdropper(BaseCallbackHandler):
    """Keeps all that callbacks are told of models, chains and tools."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def _hear(self, *told: Any, **more: Any) -> None:
        self.heard.append(repr(told) + repr(more))

    on_chat_model_start = on_llm_new_token = on_llm_end = on_llm_error = _hear
