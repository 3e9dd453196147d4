"""What may be used of a model's answer: a new message of what was judged, and of numbers and names.

Whatever else a provider puts beside it (raw calls, the likelihood of each word, words of a refusal) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall

from mutx_guardrail_client.errors import Refused
from mutx_guardrail_client.fields import TooManyTextsError, texts_at
from mutx_guardrail_client.judging import NOT_MASKABLE
from mutx_guardrail_client.strict_json import JsonError, write_json

NOT_JUDGED = "content_not_judged"
"""The reason of a refusal that is the client's own: nobody can judge an image, a sound or a file here."""

JudgeText = Callable[[str], str]
"""Returns what may be used of a text; it raises `Refused` and `GuardUnavailable`."""

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_CALLS = frozenset({"tool_use", "tool_call", "function_call", "tool_call_chunk", "input_json_delta"})
"""Blocks that say again what `tool_calls` says."""
_THOUGHTS = frozenset({"reasoning", "thinking"})
_BESIDE_A_THOUGHT = frozenset({"type", "signature", "id", "index"})
_TOLD = frozenset(
    {"model_name", "model", "model_provider", "finish_reason", "stop_reason", "token_usage", "id", "created",
     "service_tier", "system_fingerprint", "done_reason"}
)  # fmt: skip


def answered(message: AIMessage, judge: JudgeText) -> AIMessage:
    """Return a message of what may be used.

    Raises:
        Refused: the guard refuses a text, or something is no text.
    """
    content: Any = message.content
    if isinstance(content, str):
        judged: Any = judge(content) if content else content
    else:
        judged = [block for each in content if (block := _block(each, judge)) is not None]
    return AIMessage(
        content=judged,
        tool_calls=judged_calls(message.tool_calls, judge),
        invalid_tool_calls=[_invalid(each, judge) for each in message.invalid_tool_calls],
        usage_metadata=message.usage_metadata,
        response_metadata=plain_metadata(message.response_metadata),
        id=plain_name(message.id),
        name=plain_name(message.name),
    )


def text_of(chunk: AIMessageChunk) -> str:
    """Return the text of a chunk; what else it has is judged at the end."""
    content: Any = chunk.content
    if isinstance(content, str):
        return content
    return "".join(
        each if isinstance(each, str) else str(each.get("text", "")) for each in content if _is_text(each)
    )


def without_text(message: AIMessage) -> AIMessage:
    """Return a message with its blocks that are no text."""
    content: Any = message.content
    blocks = [] if isinstance(content, str) else [each for each in content if not _is_text(each)]
    return message.model_copy(update={"content": blocks or ""})


def judged_calls(calls: list[ToolCall], judge: JudgeText) -> list[ToolCall]:
    """Return calls of tools with judged arguments: together as one text, string by string where that is changed."""
    for call in calls:
        if plain_name(call["name"]) is None or (call["id"] is not None and plain_name(call["id"]) is None):
            raise Refused(NOT_JUDGED, details="a tool's name or a call's id is no short word")
    made = [ToolCall(name=each["name"], args=each["args"], id=each["id"], type="tool_call") for each in calls]
    if not any(each["args"] for each in calls):
        return made
    try:
        box: list[Any] = [[_copied(each["args"]) for each in calls]]
        whole = write_json(box[0]).decode()
        texts = texts_at(box, [()])
    except (JsonError, TooManyTextsError):
        raise Refused(NOT_JUDGED, details="a tool's arguments are no JSON, or too many") from None
    if judge(whole) != whole:
        names = "\n".join(texts.names)
        if names and judge(names) != names:
            raise Refused(NOT_MASKABLE, details="the name of a tool's argument would have to be masked")
        for slot in texts.slots:
            slot.put(judge(slot.text) if slot.text else slot.text)
    return [ToolCall(name=each["name"], args=args, id=each["id"], type="tool_call")
            for each, args in zip(made, box[0], strict=True)]  # fmt: skip


def plain_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an answer's metadata tells in numbers and short words."""
    return {name: value for name, value in metadata.items() if name in _TOLD and _is_plain(value)}


def plain_name(value: str | None) -> str | None:
    """Return an identifier, None for whatever is none."""
    return value if value is not None and _NAME.fullmatch(value) else None


def _block(block: str | dict[str, Any], judge: JudgeText) -> str | dict[str, Any] | None:
    """Return a judged block; None for one that is left out."""
    if isinstance(block, str):
        return judge(block) if block else block
    kind, text = block.get("type"), block.get("text")
    if kind == "text" and isinstance(text, str):
        return {"type": "text", "text": judge(text) if text else text}
    if kind in _CALLS:
        return None
    if kind not in _THOUGHTS:
        raise Refused(NOT_JUDGED, details="the model answered with what is no text")
    return _thought(block, str(kind), judge)


def _thought(block: dict[str, Any], kind: str, judge: JudgeText) -> dict[str, Any] | None:
    """Return a thought as it is: its provider signed it. One that would have to be changed is left out."""
    text = block.get(kind)
    if not isinstance(text, str) or block.keys() - _BESIDE_A_THOUGHT - {kind}:
        return None
    return block if not text or judge(text) == text else None


def _invalid(call: InvalidToolCall, judge: JudgeText) -> InvalidToolCall:
    args = call["args"]
    return InvalidToolCall(
        name=plain_name(call["name"]), args=judge(args) if args else args, id=plain_name(call["id"]),
        error="the arguments are no JSON", type="invalid_tool_call",
    )  # fmt: skip


def _is_text(block: str | dict[str, Any]) -> bool:
    return isinstance(block, str) or (block.get("type") == "text" and isinstance(block.get("text"), str))


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(plain_name(name) and (_is_plain(each) or each is None) for name, each in value.items())
    return isinstance(value, int | float) or (isinstance(value, str) and plain_name(value) is not None)


def _copied(value: object) -> object:
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list | tuple) else value
