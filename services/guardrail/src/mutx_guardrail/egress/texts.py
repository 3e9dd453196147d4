"""Which texts a document of a provider's API holds, by whose word each is there, and how a changed one goes back.

Every string is looked at. One in a place for text is a text; one elsewhere is a text unless it is a short identifier.
What holds no text to judge (images, sound, files, tools that the provider runs, state that it keeps) is refused,
unless the agent's rule lets that kind pass unjudged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mutx_service.strict_json import Json, JsonError, read_json

from mutx_guardrail.document import Origin
from mutx_guardrail.egress.refusal import Refusal

IDENTIFIER = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_OPAQUE = re.compile(r"[A-Za-z0-9+/=_-]*")
_ERROR_KIND = re.compile(r"(?:[a-z_]+_)?error")
_MOST_WORDS_UNJUDGED = 8
"""Of a value that holds identifiers only, such as `{"type": "function", "name": "f"}`."""

_ORIGIN_OF_ROLE = {
    "user": Origin.USER, "tool": Origin.TOOL, "function": Origin.TOOL,
    "assistant": Origin.AGENT, "system": Origin.AGENT, "developer": Origin.AGENT,
}  # fmt: skip
_RESULTS = frozenset({"tool_result", "function_call_output", "custom_tool_call_output"})
_KINDS = _RESULTS | {
    "text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text", "reasoning", "message",
    "tool_use", "function", "function_call", "custom", "custom_tool_call", "thinking", "redacted_thinking",
    "text_delta", "input_json_delta", "thinking_delta", "signature_delta",
}  # fmt: skip

_TEXT_NAMES = frozenset(
    {"content", "text", "refusal", "thinking", "output", "input", "instructions", "system", "prompt", "suffix",
     "summary", "delta", "partial_json", "description", "reasoning", "reasoning_content", "message"}
)  # fmt: skip
_WALKED_NAMES = _TEXT_NAMES | {
    "messages", "choices", "tool_calls", "function_call", "function", "custom", "item", "part", "response",
    "content_block", "error", "data",
}  # fmt: skip
# Made by the provider and sealed by it; nobody else reads or makes them.
_SEALED_NAMES = frozenset({"signature", "encrypted_content", "embedding"})

# What a provider keeps or does on its own is not seen here.
_STATE_FIELDS = frozenset(
    {"previous_response_id", "conversation", "mcp_servers", "container", "background", "audio",
     "web_search_options", "logprobs", "top_logprobs"}
)  # fmt: skip


@dataclass(slots=True)
class Slot:
    """A text, whose word it is, and how another one is put in its place; `is_said`: it is of a user's message."""

    text: str
    origin: Origin
    put: Callable[[str], None]
    is_said: bool = False


@dataclass(slots=True)
class FreeValue:
    """A value of free form (a tool's definition, a call's arguments): judged as one text, changed string by string."""

    pieces: list[Slot | str]
    origin: Origin
    finish: Callable[[], None]

    @property
    def slots(self) -> list[Slot]:
        """Its strings; the other pieces are names."""
        return [piece for piece in self.pieces if isinstance(piece, Slot)]

    @property
    def text(self) -> str:
        """Every name and string in order, a line each."""
        return "\n".join(piece.text if isinstance(piece, Slot) else piece for piece in self.pieces)


Part = Slot | FreeValue


def request_texts(document: dict[str, Json], unjudged: AbstractSet[str]) -> list[Part]:
    """Return the texts of a request.

    Raises:
        Refusal: it holds what cannot be judged.
    """
    walk = _Walk(unjudged, is_answer=False)
    for name, value in document.items():
        if name in _STATE_FIELDS and value not in (None, False, [], 0):
            walk.refuse_unless_permitted(name)
        if name == "prompt" and isinstance(value, dict):
            walk.refuse_unless_permitted("stored_prompt")
        if name == "modalities" and value not in (None, ["text"]):
            walk.refuse_unless_permitted("modalities")
        if name in {"input", "prompt"} and _holds_numbers(value):
            walk.refuse_unless_permitted("token_ids")
        for tool in value if name == "tools" and isinstance(value, list) else ():
            kind = tool.get("type", "function") if isinstance(tool, dict) else "unknown"
            if kind not in {"function", "custom"}:
                walk.refuse_unless_permitted(str(kind))
        walk.members(
            {name: value}, Origin.USER if name in {"input", "prompt"} else Origin.AGENT, frozenset(), document
        )
    return walk.found


def answer_texts(
    document: dict[str, Json], unjudged: AbstractSet[str], skip: AbstractSet[tuple[int, str]] = frozenset()
) -> list[Part]:
    """Return the texts of an answer or of one event of a stream; `skip` are places (id of the object, name)."""
    walk = _Walk(unjudged, is_answer=True)
    walk.members(document, Origin.AGENT, skip)
    return walk.found


class _Walk:
    def __init__(self, unjudged: AbstractSet[str], *, is_answer: bool) -> None:
        self._unjudged, self._is_answer = unjudged, is_answer
        self.found: list[Part] = []

    def refuse_unless_permitted(self, kind: str) -> None:
        if kind not in self._unjudged:
            named = kind if IDENTIFIER.fullmatch(kind) else "an unknown kind"
            raise Refusal(
                "content_not_judged", f"{named} cannot be judged, and is not permitted to pass unjudged"
            )

    def members(
        self,
        members: dict[str, Json],
        origin: Origin,
        skip: AbstractSet[tuple[int, str]],
        node: dict[str, Json] | None = None,
    ) -> None:
        """Look at the members of an object; `node` is the object where `members` are some of it."""
        whole = members if node is None else node
        for name, value in list(members.items()):
            if (id(whole), name) not in skip:
                self._member(whole, name, value, origin, skip)

    def _member(
        self,
        node: dict[str, Json],
        name: str,
        value: Json,
        origin: Origin,
        skip: AbstractSet[tuple[int, str]],
    ) -> None:
        if not IDENTIFIER.fullmatch(name):
            raise Refusal("request_invalid", "a field's name is no identifier")
        if isinstance(value, str):
            self._string(node, name, value, origin)
        elif name in {"input", "arguments"} and isinstance(value, dict):
            self._group(value, origin)
        elif name in _WALKED_NAMES:
            self._value(value, origin, skip)
        elif isinstance(value, list) and name in {"tools", "functions"}:
            for each in value:
                if not isinstance(each, dict):
                    raise Refusal("request_invalid", "a tool is no object")
                self._group(each, Origin.AGENT)
        elif isinstance(value, list | dict) and not _is_bare(value):
            self._group(value, origin)

    def _value(self, value: Json, origin: Origin, skip: AbstractSet[tuple[int, str]]) -> None:
        if isinstance(value, list):
            for at, each in enumerate(value):
                if isinstance(each, str):
                    self._text(each, origin, _putter(value, at))
                else:
                    self._value(each, origin, skip)
        elif isinstance(value, dict):
            self._item(value, origin, skip)

    def _item(self, item: dict[str, Json], origin: Origin, skip: AbstractSet[tuple[int, str]]) -> None:
        """Look at one message, part or call: its role and kind say whose word it is, and whether it is text."""
        role, kind = item.get("role"), item.get("type")
        if role is not None:
            if not isinstance(role, str) or role not in _ORIGIN_OF_ROLE:
                raise Refusal("request_invalid", "a message has an unknown role")
            origin = _ORIGIN_OF_ROLE[role]
        if (
            kind is not None
            and kind not in _KINDS
            and not (self._is_answer and _ERROR_KIND.fullmatch(str(kind)))
        ):
            self.refuse_unless_permitted(str(kind))
            return
        begin = len(self.found)
        self.members(item, Origin.TOOL if kind in _RESULTS else origin, skip)
        if role == "user":
            for part in self.found[begin:]:
                if isinstance(part, Slot):
                    part.is_said = part.origin is Origin.USER

    def _string(self, node: dict[str, Json], name: str, value: str, origin: Origin) -> None:
        is_sealed = name in _SEALED_NAMES or (name == "data" and node.get("type") == "redacted_thinking")
        if is_sealed and _OPAQUE.fullmatch(value):
            return
        if name == "arguments":
            self._arguments(node, value, origin)
        elif name in _TEXT_NAMES or not IDENTIFIER.fullmatch(value):
            self._text(value, origin, _putter(node, name))

    def _text(self, value: str, origin: Origin, put: Callable[[str], None]) -> None:
        if value and not value.isspace():
            self.found.append(Slot(value, origin, put))

    def _arguments(self, node: dict[str, Json], value: str, origin: Origin) -> None:
        """A call's arguments are JSON within a string, whose escapes would hide a text from who looks at it."""
        try:
            box: list[Json] = [read_json(value.encode())]
        except (JsonError, UnicodeEncodeError):
            self._text(value, origin, _putter(node, "arguments"))
            return
        self._group(box, origin, lambda: _put(node, "arguments", json.dumps(box[0], ensure_ascii=False)))

    def _group(self, value: Json, origin: Origin, finish: Callable[[], None] = lambda: None) -> None:
        group = FreeValue(list(pieces_of(value, origin)), origin, finish)
        if group.text.strip():
            self.found.append(group)


def _is_bare(value: Json) -> bool:
    """Say whether a value holds a few identifiers and numbers only."""
    pieces = list(pieces_of(value, Origin.AGENT))
    words = [piece.text if isinstance(piece, Slot) else piece for piece in pieces]
    if not all(IDENTIFIER.fullmatch(word) for word in words):
        return False
    return len(words) <= _MOST_WORDS_UNJUDGED or not any(isinstance(piece, Slot) for piece in pieces)


def pieces_of(value: Json, origin: Origin) -> Iterator[Slot | str]:
    """Yield every name and every string below a list or object, in order."""
    if isinstance(value, list):
        for at, each in enumerate(value):
            yield from _piece(value, at, each, origin)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from _piece(value, name, each, origin)


def _piece(node: Json, key: str | int, value: Json, origin: Origin) -> Iterator[Slot | str]:
    if isinstance(value, str):
        yield Slot(value, origin, _putter(node, key))
    else:
        yield from pieces_of(value, origin)


def _putter(node: Json, key: str | int) -> Callable[[str], None]:
    return lambda text: _put(node, key, text)


def _put(node: Json, key: str | int, text: str) -> None:
    node[key] = text  # type: ignore[index] # the key was taken from this very node


def _holds_numbers(value: Json) -> bool:
    if isinstance(value, list):
        return any(isinstance(each, int | float) or _holds_numbers(each) for each in value)
    return False
