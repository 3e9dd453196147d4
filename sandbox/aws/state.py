"""From a described AWS item to the state that the official provider would report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mutx_sandbox.aws.resource import ZERO, Kind, Property
from mutx_sandbox.aws.shapes import fill, lower_camel, search, upper_camel
from mutx_sandbox.aws.values import Properties, canonical, is_empty

if TYPE_CHECKING:
    from mutx_sandbox.aws.lifecycle import Work

INCOMPLETE = "__incomplete"
"""State of a resource whose creation stopped half-way; the next update finishes it."""

CURRENT_ID = "__id"
"""State of a resource that AWS gave another id in an update, which Pulumi cannot take up before the next refresh."""


def state_of(work: Work, item: dict[str, Any]) -> Properties:
    """Return inputs and outputs of a described resource; what AWS does not give back keeps its known value."""
    state: Properties = {}
    for name in work.type.properties:
        value = _settle(work, name, read_property(work, name, item))
        if value is not None:
            state[name] = value
    known = {**work.known, **state, "id": work.id}
    for name, output in work.type.outputs.items():
        if output.template:
            state[name] = fill(output.template, known)
        else:
            value = search(output.item, item)
            state[name] = ZERO.get(output.kind) if value is None else lower_camel(value)
    return state


def read_property(work: Work, name: str, item: dict[str, Any]) -> Any:
    """Return one property from a described item, coerced to its kind; None if it is not there."""
    described = work.type.properties[name]
    if name == "tags":
        return _read_tags(work, item)
    if name == "region" or described.item is None:
        return work.known.get(name)
    value = search(described.item or described.api or upper_camel(name), item)
    return coerce(described.kind, value)


def coerce(kind: Kind, value: Any) -> Any:
    """Bring a value to its property's kind.

    Raises:
        ValueError: it cannot be one.
    """
    if value is None:
        return None
    if kind in {Kind.STRING, Kind.JSON}:
        if isinstance(value, dict | list) and kind is Kind.JSON:
            return json.dumps(value)
        return _text(value)
    if kind is Kind.INTEGER:
        if isinstance(value, bool):
            raise ValueError("expected a whole number, got a truth value")
        return int(value)
    if kind is Kind.BOOLEAN:
        if value in (True, False, "true", "false"):
            return value in (True, "true")
        raise ValueError(f"expected true or false, got {type(value).__name__}")
    if kind is Kind.STRINGS:
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {type(value).__name__}")
        return [_text(entry) for entry in value if entry is not None]
    if kind is Kind.MAP:
        if not isinstance(value, dict):
            raise ValueError(f"expected a map, got {type(value).__name__}")
        return {key: _text(entry) for key, entry in value.items() if entry is not None}
    if not isinstance(value, list):
        raise ValueError(f"expected a list of objects, got {type(value).__name__}")
    return value


def same(described: Property, one: Any, other: Any) -> bool:
    """Say whether two values of a property mean the same: sets without order, JSON by content, empty as absent."""
    if is_empty(one) and is_empty(other):
        return True
    if one is None or other is None:
        return False
    if described.normal is not None:
        one, other = described.normal(one), described.normal(other)
    if described.kind is Kind.JSON:
        return _document(one) == _document(other)
    return canonical(one) == canonical(other)


def _settle(work: Work, name: str, value: Any) -> Any:
    """Keep the program's spelling of a value that AWS spells differently but means the same."""
    described = work.type.properties[name]
    spelled = work.inputs.get(name, work.state.get(name))
    if described.normal is None and described.kind not in {Kind.JSON, Kind.STRINGS, Kind.OBJECTS}:
        return value
    if spelled is not None and value is not None and same(described, value, spelled):
        return spelled
    return value


def _read_tags(work: Work, item: dict[str, Any]) -> Any:
    tagging = work.type.tagging
    if tagging is None:
        return None
    found = search(tagging.read, item)
    tags: Mapping[str, str] = (
        {entry["Key"]: entry["Value"] for entry in found} if isinstance(found, list) else found or {}
    )
    own = {key: value for key, value in tags.items() if not key.startswith("aws:")}
    return own or ({} if "tags" in work.known else None)


def _document(value: Any) -> str:
    try:
        return canonical(json.loads(value))
    except (TypeError, ValueError):
        return str(value)


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise ValueError(f"expected text, got {'a map' if isinstance(value, dict) else 'a list'}")
    return str(value).lower() if isinstance(value, bool) else str(value)
