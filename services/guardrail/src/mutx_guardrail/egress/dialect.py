"""The two wire forms of providers: their paths, how they tell an error, and where a stream's pieces of text stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from mutx_service.strict_json import Json

from mutx_guardrail.egress.refusal import Refusal
from mutx_guardrail.sse import RawEvent

Group = str | int
"""What ends as one: a choice, a block, an item."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a text within an event.

    Attributes:
        channel: which text it belongs to; the first part is its group.
        node: the object that holds it, under `name`.
        is_json: whether the text as a whole is JSON.
    """

    channel: tuple[Group, ...]
    node: dict[str, Json]
    name: str
    is_json: bool = False

    @property
    def text(self) -> str:
        """The piece."""
        return str(self.node[self.name])


class Dialect:
    """One wire form. `paths` are below what a client takes for its base URL, with their methods."""

    name: str
    paths: ClassVar[Mapping[str, str]]

    def error(self, refusal: Refusal) -> dict[str, Json]:
        """Return the body of an answer that refuses."""
        raise NotImplementedError

    def error_event(self, refusal: Refusal) -> bytes:
        """Return the event that ends a stream which is refused."""
        raise NotImplementedError

    def deltas(self, event: dict[str, Json]) -> list[Delta]:
        """Return the pieces of text in an event, without empty ones."""
        raise NotImplementedError

    def ended(self, event: dict[str, Json]) -> set[Group] | None:
        """Return the groups that end with an event; None for all."""
        raise NotImplementedError


class OpenAi(Dialect):
    """Chat completions, completions, responses, embeddings and models, as OpenAI and compatible servers speak them."""

    name = "openai"
    paths: ClassVar[Mapping[str, str]] = {
        "/chat/completions": "POST",
        "/completions": "POST",
        "/responses": "POST",
        "/embeddings": "POST",
        "/models": "GET",
    }

    def error(self, refusal: Refusal) -> dict[str, Json]:
        """`{"error": {…}}`."""
        kind = "invalid_request_error" if refusal.status < 500 else "server_error"  # noqa: PLR2004
        return {"error": {"message": refusal.message, "type": kind, "param": None, "code": refusal.code}}

    def error_event(self, refusal: Refusal) -> bytes:
        """An event whose data has `error`: its clients raise at one, with and without `type`."""
        data = {"type": "error", **self.error(refusal), "code": refusal.code, "message": refusal.message}
        return b"event: error\ndata: " + json.dumps(data).encode() + b"\n\n"

    def deltas(self, event: dict[str, Json]) -> list[Delta]:
        """`choices[].delta` or `choices[].text`; in the form of responses, `delta`."""
        kind = event.get("type")
        if isinstance(kind, str):
            return self._response_deltas(event, kind)
        found: list[Delta] = []
        for choice in _objects(event.get("choices")):
            index = _index(choice)
            _add(found, (index, "text"), choice, "text")
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                continue
            for name in ("content", "refusal", "reasoning_content", "reasoning"):
                _add(found, (index, name), delta, name)
            for call in _objects(delta.get("tool_calls")):
                for part, name in (("function", "arguments"), ("custom", "input")):
                    inner = call.get(part)
                    if isinstance(inner, dict):
                        _add(found, (index, part, _index(call)), inner, name, is_json=part == "function")
            old_form = delta.get("function_call")
            if isinstance(old_form, dict):
                _add(found, (index, "function_call"), old_form, "arguments", is_json=True)
        return found

    def ended(self, event: dict[str, Json]) -> set[Group] | None:
        """Choices with a `finish_reason`; items that are done; all where the response is."""
        kind = event.get("type")
        if isinstance(kind, str):
            if kind.endswith(".done"):
                return {_group(event)}
            return (
                None
                if kind in {"response.completed", "response.incomplete", "response.failed", "error"}
                else set()
            )
        return {_index(choice) for choice in _objects(event.get("choices")) if choice.get("finish_reason")}

    @staticmethod
    def _response_deltas(event: dict[str, Json], kind: str) -> list[Delta]:
        found: list[Delta] = []
        if kind.endswith(".delta"):
            place = (event.get("content_index"), event.get("summary_index"))
            channel = (_group(event), kind, *(at for at in place if isinstance(at, int)))
            _add(found, channel, event, "delta", is_json="arguments" in kind)
        return found


class Anthropic(Dialect):
    """Messages."""

    name = "anthropic"
    paths: ClassVar[Mapping[str, str]] = {"/v1/messages": "POST", "/v1/models": "GET"}

    def error(self, refusal: Refusal) -> dict[str, Json]:
        """`{"type": "error", "error": {…}}`."""
        kind = "invalid_request_error" if refusal.status < 500 else "api_error"  # noqa: PLR2004
        return {"type": "error", "error": {"type": kind, "message": refusal.message, "code": refusal.code}}

    def error_event(self, refusal: Refusal) -> bytes:
        """An event `error`."""
        return b"event: error\ndata: " + json.dumps(self.error(refusal)).encode() + b"\n\n"

    def deltas(self, event: dict[str, Json]) -> list[Delta]:
        """`content_block_delta` with text, thoughts, or a piece of a tool's input."""
        delta = event.get("delta")
        found: list[Delta] = []
        if event.get("type") == "content_block_delta" and isinstance(delta, dict):
            for name in ("text", "thinking", "partial_json"):
                _add(found, (_index(event), name), delta, name, is_json=name == "partial_json")
        return found

    def ended(self, event: dict[str, Json]) -> set[Group] | None:
        """The block that stops; all where the message does."""
        kind = event.get("type")
        if kind == "content_block_stop":
            return {_index(event)}
        return None if kind in {"message_delta", "message_stop", "error"} else set()


DIALECTS: Mapping[str, Dialect] = {"openai": OpenAi(), "anthropic": Anthropic()}
DONE = RawEvent("", "[DONE]")


def _objects(value: Json) -> list[dict[str, Json]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _index(node: dict[str, Json]) -> Group:
    found = node.get("index", 0)
    return found if isinstance(found, int) else 0


def _group(event: dict[str, Json]) -> Group:
    found = event.get("item_id") or event.get("output_index") or 0
    return found if isinstance(found, str | int) else 0


def _add(
    found: list[Delta], channel: tuple[Group, ...], node: dict[str, Json], name: str, *, is_json: bool = False
) -> None:
    value = node.get(name)
    if isinstance(value, str) and value:
        found.append(Delta(channel, node, name, is_json))
