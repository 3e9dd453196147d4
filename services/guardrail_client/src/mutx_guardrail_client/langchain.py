"""LangChain: `guarded` for a chat model, `GuardAgentMiddleware` for an agent of `create_agent`.

Both judge what goes to the model and what comes from it before anything else hears of it, callbacks included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState, ExtendedModelResponse, ToolCallRequest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import Command

from mutx_guardrail_client.chat_model import GuardedChatModel, around
from mutx_guardrail_client.client import GuardClient
from mutx_guardrail_client.conversation import Conversation

Response = ModelResponse[Any] | ExtendedModelResponse[Any] | AIMessage
ToolResult = ToolMessage | Command[Any]

__all__ = ["GuardAgentMiddleware", "GuardedChatModel", "guarded"]


def guarded(model: BaseChatModel, guard: GuardClient, *, unjudged: Sequence[str] = ()) -> GuardedChatModel:
    """Return a chat model that sends and returns judged text only.

    Args:
        model: bind tools to what comes back, not before.
        guard: judges.
        unjudged: kinds of content that pass although nobody can judge them, as `image_url`.
    """
    return around(model, Conversation(guard, unjudged))


class GuardAgentMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Guards an agent: what a person writes, what tools say, what the model says and asks of tools.

    Args:
        guard: judges.
        unjudged: kinds of content that pass although nobody can judge them, as `image_url`.
    """

    def __init__(self, guard: GuardClient, *, unjudged: Sequence[str] = ()) -> None:
        super().__init__()
        self._conversation = Conversation(guard, unjudged)

    def before_model(
        self,
        state: AgentState[Any],
        runtime: Runtime[Any],  # noqa: ARG002 - LangChain's own signature
    ) -> dict[str, Any] | None:
        """Keep what may be kept of a person's messages, in the state as well."""
        changed = [
            judged
            for message in state["messages"]
            if isinstance(message, HumanMessage)
            and message.id is not None
            and (judged := self._conversation.person(message)) is not message
        ]
        return {"messages": changed} if changed else None

    async def abefore_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Keep what may be kept of a person's messages, in the state as well."""
        return await asyncio.to_thread(self.before_model, state, runtime)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> Response:
        """Call the model with the guard before it, and look once more at what comes through other middleware."""
        return self._confirmed(handler(self._with_guard(request)))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Response:
        """Call the model with the guard before it, and look once more at what comes through other middleware."""
        return await asyncio.to_thread(self._confirmed, await handler(self._with_guard(request)))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]
    ) -> ToolResult:
        """Run a tool, and keep what may be kept of what it says."""
        return self._tool_result(handler(request))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """Run a tool, and keep what may be kept of what it says."""
        return await asyncio.to_thread(self._tool_result, await handler(request))

    def _with_guard(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        return request.override(model=around(request.model, self._conversation))

    def _confirmed(self, response: Response) -> Response:
        if isinstance(response, AIMessage):
            return self._conversation.confirmed(response)
        whole = response.model_response if isinstance(response, ExtendedModelResponse) else response
        whole.result = [self._message(message) for message in whole.result]
        return response

    def _tool_result(self, result: ToolResult) -> ToolResult:
        """Judge a tool's message, or those in the update that it asks for."""
        if isinstance(result, ToolMessage):
            return self._conversation.tool_result(result)
        if isinstance(result.update, dict) and "messages" in result.update:
            messages = [self._message(message) for message in result.update["messages"]]
            result.update["messages"] = messages
        return result

    def _message(self, message: BaseMessage) -> BaseMessage:
        if isinstance(message, AIMessage):
            return self._conversation.confirmed(message)
        if isinstance(message, ToolMessage):
            return self._conversation.tool_result(message)
        return message
