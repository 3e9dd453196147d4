"""Checks a resource's inputs against its table and fills in what the program left out."""

from __future__ import annotations

from collections.abc import Mapping

from mutx_sandbox.aws.names import NamingError, Request, name_for
from mutx_sandbox.aws.resource import ResourceType
from mutx_sandbox.bridge.check import DEFAULTS, Failure, invalid_inputs, missing_inputs, read_inputs
from mutx_sandbox.bridge.values import Properties


def check(
    kind: ResourceType,
    news: Properties,
    old_inputs: Properties,
    naming: Request,
    default_tags: Mapping[str, str],
) -> tuple[Properties, list[Failure]]:
    """Return the inputs to use and what is wrong with them. Nothing that the table does not know passes silently."""
    inputs, failures = read_inputs(kind, news)
    filled = _fill_in(kind, inputs, old_inputs, naming, failures)
    if default_tags and kind.tagging is not None:
        inputs["tags"] = {**default_tags, **(inputs.get("tags") or {})}
    failures += missing_inputs(kind, inputs, news)
    if not failures:
        failures += invalid_inputs(kind, inputs)
    if filled:
        inputs[DEFAULTS] = filled
    return inputs, failures


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
