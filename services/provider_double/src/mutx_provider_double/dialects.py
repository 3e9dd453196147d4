"""The two wire forms: OpenAI's chat completions and Anthropic's messages, whole and as server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mutx_provider_double.reply import Reply

Event = tuple[str, dict[str, Any]]
"""An event's name (empty: none is sent) and its data."""

PATHS = {"/v1/chat/completions": "openai", "/v1/messages": "anthropic"}
_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_OPENAI_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def key_of(dialect: str, headers: Mapping[str, str]) -> str:
    """Return the key that a request carries, or an empty string."""
    if dialect == "anthropic":
        return headers.get("x-api-key", "")
    return headers.get("authorization", "").removeprefix("Bearer ")


def error_body(dialect: str, status: int, key: str) -> dict[str, Any]:
    """Return an error in the dialect's shape; its message quotes the key."""
    error = {
        "type": _ERROR_TYPES.get(status, "api_error"),
        "message": f"refused with {status}; your key is {key}",
    }
    if dialect == "anthropic":
        return {"type": "error", "error": error}
    return {"error": {**error, "param": None, "code": _OPENAI_CODES.get(status)}}


def whole(dialect: str, reply: Reply, model: str, words_in: int) -> dict[str, Any]:
    """Return a whole answer."""
    words_out = len(reply.text.split())
    if dialect == "anthropic":
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": model,
            "content": [*_anthropic_text(reply), *_anthropic_tools(reply)],
            "stop_reason": "tool_use" if reply.tool_calls else "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": words_in, "output_tokens": words_out},
        }  # fmt: skip
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.tool_calls:
        message["tool_calls"] = _openai_tools(reply)
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if reply.tool_calls else "stop"}],
        "usage": {"prompt_tokens": words_in, "completion_tokens": words_out, "total_tokens": words_in + words_out},
    }  # fmt: skip


def stream(dialect: str, reply: Reply, model: str, words_in: int) -> Iterator[Event]:
    """Yield the events of a streamed answer, a word each."""
    yield from (_anthropic_stream if dialect == "anthropic" else _openai_stream)(reply, model, words_in)


def frame(event: Event) -> bytes:
    """Return an event as it goes over the wire."""
    name, data = event
    head = f"event: {name}\n" if name else ""
    text = data["raw"] if list(data) == ["raw"] else json.dumps(data)
    return f"{head}data: {text}\n\n".encode()


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [
        word if last else f"{word} "
        for word, last in zip(words, [*[False] * (len(words) - 1), True], strict=True)
    ]


def _openai_tools(reply: Reply) -> list[dict[str, Any]]:
    return [
        {"index": i, "id": f"call_{i}", "type": "function",
         "function": {"name": each.name, "arguments": json.dumps(each.arguments)}}
        for i, each in enumerate(reply.tool_calls)
    ]  # fmt: skip


def _openai_stream(reply: Reply, model: str, words_in: int) -> Iterator[Event]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return "", {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": model,
            "choices": [choice],
        }

    yield chunk({"role": "assistant", "content": ""})
    for word in _words(reply.text) if reply.text else ():
        yield chunk({"content": word})
    if reply.tool_calls:
        yield chunk({"tool_calls": _openai_tools(reply)})
    yield chunk({}, "tool_calls" if reply.tool_calls else "stop")
    words_out = len(reply.text.split())
    usage = {"prompt_tokens": words_in, "completion_tokens": words_out, "total_tokens": words_in + words_out}
    last = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [],
    }
    yield "", {**last, "usage": usage}
    yield "", {"raw": "[DONE]"}


def _anthropic_text(reply: Reply) -> list[dict[str, Any]]:
    return [{"type": "text", "text": reply.text}] if reply.text else []


def _anthropic_tools(reply: Reply) -> list[dict[str, Any]]:
    return [
        {"type": "tool_use", "id": f"toolu_{i}", "name": each.name, "input": each.arguments}
        for i, each in enumerate(reply.tool_calls)
    ]


def _anthropic_stream(reply: Reply, model: str, words_in: int) -> Iterator[Event]:
    start = whole("anthropic", Reply(), model, words_in)
    yield "message_start", {"type": "message_start", "message": {**start, "stop_reason": None}}
    index = 0
    if reply.text:
        yield _block_start(index, {"type": "text", "text": ""})
        for word in _words(reply.text):
            yield _block_delta(index, {"type": "text_delta", "text": word})
        yield "content_block_stop", {"type": "content_block_stop", "index": index}
        index += 1
    for tool in _anthropic_tools(reply):
        yield _block_start(index, {**tool, "input": {}})
        yield _block_delta(index, {"type": "input_json_delta", "partial_json": json.dumps(tool["input"])})
        yield "content_block_stop", {"type": "content_block_stop", "index": index}
        index += 1
    delta = {"stop_reason": "tool_use" if reply.tool_calls else "end_turn", "stop_sequence": None}
    usage = {"output_tokens": len(reply.text.split())}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": usage}
    yield "message_stop", {"type": "message_stop"}


def _block_start(index: int, block: dict[str, Any]) -> Event:
    return "content_block_start", {"type": "content_block_start", "index": index, "content_block": block}


def _block_delta(index: int, delta: dict[str, Any]) -> Event:
    return "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
