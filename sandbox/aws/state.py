"""From a described AWS item to the state that the official provider would report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mutx_sandbox.aws.shapes import fill, lower_camel, search, upper_camel
from mutx_sandbox.bridge.coercion import coerce
from mutx_sandbox.bridge.diff import same
from mutx_sandbox.bridge.properties import ZERO, Kind
from mutx_sandbox.bridge.values import Properties, Value

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

INCOMPLETE = "__incomplete"
"""State of a resource whose creation stopped half-way; the next update finishes it."""

CURRENT_ID = "__id"
"""State of a resource that AWS gave another id in an update, which Pulumi cannot take up before the next refresh."""


def state_of(work: Work, item: Properties) -> Properties:
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


def read_property(work: Work, name: str, item: Properties) -> Value:
    """Return one property from a described item, coerced to its kind; None if it is not there."""
    described = work.type.properties[name]
    if name == "tags":
        return _read_tags(work, item)
    if name == "region" or described.item is None:
        return work.known.get(name)
    value = search(described.item or described.api or upper_camel(name), item)
    return coerce(described.kind, value)


def _settle(work: Work, name: str, value: Value) -> Value:
    """Keep the program's spelling of a value that AWS spells differently but means the same."""
    described = work.type.properties[name]
    spelled = work.inputs.get(name, work.state.get(name))
    if described.normal is None and described.kind not in {
        Kind.JSON,
        Kind.STRINGS,
        Kind.OBJECT,
        Kind.OBJECTS,
    }:
        return value
    if spelled is not None and value is not None and same(described, value, spelled):
        return spelled
    return value


def _read_tags(work: Work, item: Properties) -> Value:
    tagging = work.type.tagging
    if tagging is None:
        return None
    found = search(tagging.read, item)
    tags: Mapping[str, str] = (
        {entry["Key"]: entry["Value"] for entry in found} if isinstance(found, list) else found or {}
    )
    own = {key: value for key, value in tags.items() if not key.startswith("aws:")}
    return own or ({} if "tags" in work.known else None)
