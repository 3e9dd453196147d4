"""What can be said of a resource before an update, and which inputs a read resource would have had."""

from __future__ import annotations

from mutx_sandbox.bridge.check import DEFAULTS
from mutx_sandbox.bridge.properties import Described
from mutx_sandbox.bridge.values import UNKNOWN, Properties, canonical, is_empty


def planned(
    kind: Described,
    inputs: Properties,
    olds: Properties | None = None,
    *,
    quiet: frozenset[str] = frozenset(),
) -> Properties:
    """Return the outputs of a preview: inputs as they are, and unknown what only the API can say.

    For an update the outputs keep their values: what computes them does not change in place. What does
    (`changing`) moves with every input but the quiet ones.
    """
    state = {name: value for name, value in inputs.items() if name != DEFAULTS}
    computed = [name for name, described in kind.properties.items() if described.computed]
    if olds is None:
        return {**dict.fromkeys([*kind.outputs, *computed], UNKNOWN), **state}
    kept = {name: olds[name] for name in (*kind.outputs, *computed, "id") if name in olds}
    moving = dict.fromkeys(kind.changing, UNKNOWN) if _differs(olds, state, quiet) else {}
    return {**kept, **moving, **state}


def refreshed_inputs(kind: Described, inputs: Properties, state: Properties) -> Properties:
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


def _differs(olds: Properties, state: Properties, quiet: frozenset[str]) -> bool:
    return any(
        canonical(olds.get(name)) != canonical(value) for name, value in state.items() if name not in quiet
    )
