"""The pattern pack as data: rules with an id, a weight, a reference, and their own tests.

In a pattern `{name}` stands for an entry of `words`, and a blank for what may stand between two words; both are
written out here, so that the rules stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from mutx_guardrail.document import Origin
from mutx_guardrail.verdict import CheckName

BETWEEN = r"[\s\"'“”‘’*_~`,()/-]{1,4}"
"""What a blank in a pattern stands for."""
BETWEEN_JOINED = r"\s{0,2}"
"""What it stands for in text whose letters were set apart: the words may have run together."""


class Rule(BaseModel):
    """One pattern.

    Args:
        weight: how sure one hit is, 0 to 1.
        origins: where a text must come from for the rule to count; empty for everywhere.
        match: texts that it must find.
        exempt: texts that it must not find (`pass` in the file).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z]{3}-[a-z0-9-]{2,40}$")]
    weight: Annotated[float, Field(gt=0, lt=1)]
    pattern: str
    reference: str
    kind: str = ""
    languages: tuple[str, ...] = ("en",)
    origins: tuple[Origin, ...] = ()
    match: Annotated[tuple[str, ...], Field(min_length=1)]
    exempt: Annotated[tuple[str, ...], Field(min_length=1, alias="pass")]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    check: CheckName
    words: Mapping[str, str] = Field(default_factory=dict)
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """The rules of one check, their patterns written out in RE2's syntax; `joined` are those for joined text."""

    version: str
    check: CheckName
    rules: tuple[Rule, ...]
    patterns: tuple[str, ...]
    joined: tuple[str, ...]


def load_pack(name: str) -> Pack:
    """Return a pack of this distribution, as `injection`.

    Raises:
        ValueError: the pack is not valid (pydantic says what), two rules have one id, or a word is not defined.
    """
    document = yaml.safe_load(
        files("mutx_guardrail").joinpath(f"data/patterns/{name}.yaml").read_text("utf-8")
    )
    file = _File.model_validate(document)
    if len({rule.id for rule in file.rules}) != len(file.rules):
        raise ValueError(f"{name}: two rules have one id")
    words = {key: _fill(value, {}) for key, value in file.words.items()}
    written = [_fill(rule.pattern, words) for rule in file.rules]
    return Pack(
        file.version,
        file.check,
        file.rules,
        tuple(_write_blanks(pattern, BETWEEN) for pattern in written),
        tuple(_write_blanks(pattern, BETWEEN_JOINED).replace(r"\b", "") for pattern in written),
    )


def _fill(pattern: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        pattern = pattern.replace("{" + name + "}", value)
    return pattern


def _write_blanks(pattern: str, between: str) -> str:
    """Write out the blanks that stand outside of character classes."""
    written, is_class, is_escaped = [], False, False
    for character in pattern:
        if is_escaped:
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        elif character in "[]":
            is_class = character == "["
        elif character == " " and not is_class:
            written.append(f"(?:{between})")
            continue
        written.append(character)
    return "".join(written)
