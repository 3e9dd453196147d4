"""What can be said of a resource before an update, and which inputs a read resource would have had."""

from __future__ import annotations

from mutx_sandbox.aws.names import DEFAULTS
from mutx_sandbox.aws.resource import ResourceType
from mutx_sandbox.aws.state import CURRENT_ID, INCOMPLETE
from mutx_sandbox.aws.values import UNKNOWN, Properties, canonical, is_empty


def planned(kind: ResourceType, inputs: Properties, olds: Properties | None = None) -> Properties:
    """Return the outputs of a preview: inputs as they are, and unknown what only AWS can say.

    For an update the outputs keep their values: what computes them does not change in place.
    """
    state = {name: value for name, value in inputs.items() if name != DEFAULTS}
    if kind.tagging is not None:
        state["tagsAll"] = inputs.get("tags") or {}
    if olds is not None:
        kept = {
            name: value for name, value in olds.items() if name in kind.outputs or name in {"id", "region"}
        }
        computed = {
            name: olds[name]
            for name, described in kind.properties.items()
            if described.computed and name not in state and name in olds
        }
        moving = dict.fromkeys(kind.changing, UNKNOWN) if _differs(olds, inputs) else {}
        return {**kept, **computed, **moving, **state}
    unknown = [*kind.outputs, *(name for name, described in kind.properties.items() if described.computed)]
    if not kind.regional or "region" not in kind.properties:
        unknown = [name for name in unknown if name != "region"]
    return {**dict.fromkeys(unknown, UNKNOWN), **state}


def _differs(olds: Properties, inputs: Properties) -> bool:
    return any(
        canonical(olds.get(name)) != canonical(value)
        for name, value in inputs.items()
        if name not in {DEFAULTS, "tags"}
    )


def refreshed_inputs(kind: ResourceType, inputs: Properties, state: Properties) -> Properties:
    """Return the inputs with the values that the resource has now; what it no longer has is left out."""
    fresh: Properties = {}
    for name, value in inputs.items():
        if name not in kind.properties:
            fresh[name] = value
        elif name in state and not (is_empty(state[name]) and is_empty(value)):
            fresh[name] = state[name]
        elif is_empty(value):
            fresh[name] = value
    return fresh


def imported_inputs(kind: ResourceType, state: Properties) -> Properties:
    """Return the inputs that a program needs to describe an imported resource: what is set and not a default."""
    inputs: Properties = {}
    filled = []
    for name, described in kind.properties.items():
        if described.default is not None and name not in state:
            state[name] = described.default
        value = state.get(name)
        if name == "region" or is_empty(value):
            continue
        inputs[name] = value
        if described.default is not None and value == described.default:
            filled.append(name)
    if filled:
        inputs[DEFAULTS] = filled
    return {name: value for name, value in inputs.items() if name not in {CURRENT_ID, INCOMPLETE}}
