"""What a preview says of AWS's resources beyond what holds for all, and the inputs of an imported one."""

from __future__ import annotations

from mutx_sandbox.aws.resource import ResourceType
from mutx_sandbox.aws.state import CURRENT_ID, INCOMPLETE
from mutx_sandbox.bridge import planning
from mutx_sandbox.bridge.check import DEFAULTS
from mutx_sandbox.bridge.values import Properties, is_empty


def planned(kind: ResourceType, inputs: Properties, olds: Properties | None = None) -> Properties:
    """Return the outputs of a preview; tags are known before, and so is the region of what has none of its own."""
    state = planning.planned(kind, inputs, olds, quiet=frozenset({"tags"}))
    if kind.tagging is not None:
        state["tagsAll"] = inputs.get("tags") or {}
    if not kind.regional and "region" not in inputs:
        state.pop("region", None)
    if olds is not None and "region" in olds:
        state.setdefault("region", olds["region"])
    return state


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
