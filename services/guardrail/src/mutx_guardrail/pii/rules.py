"""The rules of the structured kinds (`data/pii/rules.yml`) with the validators that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from mutx_guardrail.pii import validators
from mutx_guardrail.pii.kinds import Kind
from mutx_guardrail.pii.pack import Pack
from mutx_guardrail.pii.rule import GLUE, Rule

_STDNUM: Final = "stdnum:"


def rules_of(pack: Pack) -> tuple[Rule, ...]:
    """Return the rules, compiled.

    Raises:
        ValueError: a pattern is none of RE2's, or a kind or validator is not there.
    """
    return tuple(_rule(pack, entry) for entry in pack.sections["rules"])


def _rule(pack: Pack, entry: Mapping[str, Any]) -> Rule:
    return Rule(
        id=entry["id"],
        kind=Kind(entry["kind"]),
        pattern=pack.pattern(entry["pattern"]),
        alone=entry["alone"],
        supported=entry["supported"],
        context=tuple(entry.get("context", ())),
        digits=entry.get("digits", 0),
        marks=tuple(mark.encode() for mark in entry.get("marks", ())),
        check=_check(entry.get("check", "anything")),
        yields=entry.get("yields", False),
        glue=entry.get("glue", GLUE),
    )


def _check(name: str) -> Callable[[str], bool]:
    if name.startswith(_STDNUM):
        return validators.by(import_module(f"stdnum.{name.removeprefix(_STDNUM)}"))
    try:
        return validators.VALIDATORS[name]
    except KeyError:
        raise ValueError(f"{name} is no validator") from None
