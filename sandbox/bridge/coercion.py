"""Brings values to the kind of their property: engines and APIs spell numbers, truth values and documents freely."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from mutx_sandbox.bridge.properties import Kind
from mutx_sandbox.bridge.values import Value


def coerce(kind: Kind, value: Value) -> Value:
    """Bring a value to its property's kind; None stays None.

    Raises:
        ValueError: it cannot be one; the message says what it is instead.
    """
    return None if value is None else _COERCIONS[kind](value)


def _text(value: Value) -> str:
    if isinstance(value, dict | list):
        raise _unfit("text", value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _document(value: Value) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else _text(value)


def _integer(value: Value) -> int:
    if isinstance(value, bool):
        raise _unfit("a whole number", value)
    return int(value)


def _boolean(value: Value) -> bool:
    if value not in (True, False, "true", "false"):
        raise _unfit("true or false", value)
    return value in (True, "true")


def _strings(value: Value) -> list[str]:
    return [_text(entry) for entry in _objects(value) if entry is not None]


def _map(value: Value) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _unfit("a map", value)
    return {key: _text(entry) for key, entry in value.items() if entry is not None}


def _object(value: Value) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise _unfit("an object", value)
    return value


def _objects(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise _unfit("a list", value)
    return value


def _unfit(wanted: str, value: Value) -> ValueError:
    return ValueError(f"expected {wanted}, got {_WORDS.get(type(value), type(value).__name__)}")


_WORDS: Mapping[type, str] = {
    dict: "a map",
    list: "a list",
    str: "text",
    bool: "a truth value",
    int: "a number",
}

_COERCIONS: Mapping[Kind, Callable[[Value], Value]] = {
    Kind.STRING: _text,
    Kind.JSON: _document,
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.STRINGS: _strings,
    Kind.MAP: _map,
    Kind.OBJECT: _object,
    Kind.OBJECTS: _objects,
}
