"""Property values as they cross the wire: plain Python values, the unknown sentinel, and secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf import struct_pb2

Value: TypeAlias = Any
"""Any JSON value: the engine's property model and AWS's items are untyped."""

Properties: TypeAlias = dict[str, Value]
"""Values by property name."""

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Stands for a value that is not known before the update (sdk/go/common/resource/plugin/rpc.go)."""

_UNKNOWNS = frozenset(
    {
        UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # an unknown boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the protocol's marker of a secret, not one itself
_SHORTEST_TRACED = 4
"""Secret strings below this length are matched whole: `on` inside another value proves nothing."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What of a request was secret, so that nothing secret leaves in the clear.

    Attributes:
        keys: top-level properties that are, or contain, a secret.
        strings: every string that stood inside a secret.
    """

    keys: frozenset[str] = frozenset()
    strings: frozenset[str] = frozenset()

    def __or__(self, other: Secrets) -> Secrets:
        """Join what two parts of one request held."""
        return Secrets(self.keys | other.keys, self.strings | other.strings)

    def covers(self, key: str, value: Value) -> bool:
        """Say whether an output must be secret: it was one, or repeats one (an ARN made of a secret name)."""
        return key in self.keys or any(self._repeats(text) for text in _strings(value))

    def hide(self, text: str) -> str:
        """Return a message without the secrets that it repeats; the longest go first."""
        for secret in sorted(self.strings, key=len, reverse=True):
            if len(secret) >= _SHORTEST_TRACED:
                text = text.replace(secret, "[secret]")
        return text

    def _repeats(self, text: str) -> bool:
        return any(
            secret == text or (len(secret) >= _SHORTEST_TRACED and secret in text) for secret in self.strings
        )


def decode(message: struct_pb2.Struct) -> tuple[Properties, Secrets]:
    """Turn a struct into plain values, whole floats into ints, and say what was secret in it."""
    values: Properties = {}
    keys: set[str] = set()
    strings: set[str] = set()
    for key, value in message.fields.items():
        reader = _Reader()
        values[key] = reader.read(value)
        strings |= reader.strings
        if reader.found_secret:
            keys.add(key)
    return values, Secrets(frozenset(keys), frozenset(strings))


def encode(values: Mapping[str, Value], secrets: Secrets = Secrets()) -> struct_pb2.Struct:
    """Turn plain values into a struct; what `secrets` covers is wrapped, None is left out."""
    message = struct_pb2.Struct()
    message.update(
        {
            key: {_SIGNATURE: _SECRET, "value": value} if secrets.covers(key, value) else value
            for key, value in values.items()
            if value is not None
        }
    )
    return message


def has_unknown(value: Value) -> bool:
    """Say whether a value is unknown or contains something unknown."""
    return any(text in _UNKNOWNS for text in _strings(value))


def is_empty(value: Value) -> bool:
    """Say whether a value means "not said": Terraform's SDK does not tell null from the zero value."""
    return (
        value is None or value is False or value in ("", 0) or (isinstance(value, list | dict) and not value)
    )


def canonical(value: Value) -> str:
    """Return one text per meaning: equal for lists in another order, keys in another order and 1 and "1"."""
    return json.dumps(_canonical(value), sort_keys=True)


def _canonical(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return sorted((_canonical(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _strings(value: Value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


class _Reader:
    """Reads one property's value and remembers what in it was secret."""

    def __init__(self) -> None:
        self.found_secret = False
        self.strings: set[str] = set()

    def read(self, value: struct_pb2.Value, *, inside: bool = False) -> Value:
        kind = value.WhichOneof("kind")
        if kind == "struct_value":
            return self._read_struct(value.struct_value.fields, inside=inside)
        if kind == "list_value":
            return [self.read(item, inside=inside) for item in value.list_value.values]
        if kind == "string_value" and inside and value.string_value:
            self.strings.add(value.string_value)
        return _scalar(kind, value)

    def _read_struct(self, fields: Mapping[str, struct_pb2.Value], *, inside: bool) -> Value:
        if _SIGNATURE in fields and fields[_SIGNATURE].string_value == _SECRET:
            self.found_secret = True
            return self.read(fields["value"], inside=True)
        return {key: self.read(item, inside=inside) for key, item in fields.items()}


def _scalar(kind: str | None, value: struct_pb2.Value) -> Value:
    if kind == "number_value":
        return int(value.number_value) if value.number_value.is_integer() else value.number_value
    if kind == "string_value":
        return value.string_value
    return value.bool_value if kind == "bool_value" else None
