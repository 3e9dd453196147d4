"""Checks a resource's inputs against its table and fills in what the program left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mutx_sandbox.aws.coercion import coerce
from mutx_sandbox.aws.names import DEFAULTS, NamingError, Request, name_for
from mutx_sandbox.aws.resource import ResourceType
from mutx_sandbox.aws.values import Properties, has_unknown


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason why inputs cannot be used, at one property."""

    property: str
    reason: str


def check(
    kind: ResourceType,
    news: Properties,
    old_inputs: Properties,
    naming: Request,
    default_tags: Mapping[str, str],
) -> tuple[Properties, list[Failure]]:
    """Return the inputs to use and what is wrong with them. Nothing that the table does not know passes silently."""
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
    filled = _fill_in(kind, inputs, old_inputs, naming, failures)
    if default_tags and kind.tagging is not None:
        inputs["tags"] = {**default_tags, **(inputs.get("tags") or {})}
    failures += [
        Failure(name, f"Missing required property '{name}'")
        for name, described in kind.properties.items()
        if described.required and inputs.get(name) is None and name not in news
    ]
    if kind.validate is not None and not failures:
        failures += [Failure(name, reason) for name, reason in kind.validate(inputs)]
    if filled:
        inputs[DEFAULTS] = filled
    return inputs, failures


def _unknown_properties(kind: ResourceType, news: Properties) -> list[Failure]:
    failures = []
    for name in sorted(news):
        if news[name] is None or name.startswith("__") or name in kind.properties:
            continue
        reason = kind.refused.get(name, "this property is not in its table")
        failures.append(
            Failure(
                name,
                f"{kind.name}.{name} is not supported by the sandbox's stand-in for the aws provider: {reason}",
            )
        )
    return failures


def _fill_in(
    kind: ResourceType, inputs: Properties, old_inputs: Properties, naming: Request, failures: list[Failure]
) -> list[str]:
    filled = []
    for name, described in kind.properties.items():
        if described.default is not None and inputs.get(name) is None:
            inputs[name] = described.default
            filled.append(name)
    if kind.naming is not None:
        try:
            given = name_for(kind.naming, naming, inputs, old_inputs)
        except NamingError as exc:
            failures.append(Failure(kind.naming.property, str(exc)))
        else:
            if given is not None:
                inputs[kind.naming.property] = given
                filled.append(kind.naming.property)
    return filled
