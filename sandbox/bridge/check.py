"""Checks a resource's inputs against its description. Nothing that it does not know passes silently."""

from __future__ import annotations

from dataclasses import dataclass

from mutx_sandbox.bridge.coercion import coerce
from mutx_sandbox.bridge.properties import Described
from mutx_sandbox.bridge.values import Properties, has_unknown

DEFAULTS = "__defaults"
"""Inputs that the provider filled in; kept with the inputs, as official providers do."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason why inputs cannot be used, at one property."""

    property: str
    reason: str


def read_inputs(kind: Described, news: Properties) -> tuple[Properties, list[Failure]]:
    """Return the inputs brought to their kinds, and which are unknown or cannot be what they are."""
    failures = _unknown_properties(kind, news)
    inputs: Properties = {}
    for name, described in kind.properties.items():
        value = news.get(name)
        if value is None:
            continue
        try:
            inputs[name] = value if has_unknown(value) else coerce(described.kind, value)
        except (TypeError, ValueError) as exc:
            failures.append(Failure(name, f"{name}: {exc}; a {described.kind.value} is needed"))
    return inputs, failures


def missing_inputs(kind: Described, inputs: Properties, news: Properties) -> list[Failure]:
    """Return a failure for each required property that nobody said."""
    return [
        Failure(name, f"Missing required property '{name}'")
        for name, described in kind.properties.items()
        if described.required and inputs.get(name) is None and name not in news
    ]


def invalid_inputs(kind: Described, inputs: Properties) -> list[Failure]:
    """Return what the type's own rules find wrong; values that are not known yet are not judged."""
    found = [
        Failure(name, reason)
        for name, described in kind.properties.items()
        if described.reason is not None and name in inputs and not has_unknown(inputs[name])
        if (reason := described.reason(inputs[name])) is not None
    ]
    if kind.validate is not None:
        found += [Failure(name, reason) for name, reason in kind.validate(inputs)]
    return found


def _unknown_properties(kind: Described, news: Properties) -> list[Failure]:
    package = kind.name.partition(":")[0]
    failures = []
    for name in sorted(news):
        if news[name] is None or name.startswith("__") or name in kind.properties:
            continue
        reason = kind.refused.get(name, "this property is not in its table")
        failures.append(
            Failure(
                name,
                f"{kind.name}.{name} is not supported by the sandbox's stand-in for the {package} provider: {reason}",
            )
        )
    return failures
