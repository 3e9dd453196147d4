"""Packs of patterns as data: YAML files that the package ships, with named fragments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import yaml

from mutx_guardrail.pii.matching import Pattern, compile_pattern

_FRAGMENT: Final = re.compile("<([A-Z][A-Z_]+)>")


class Pack:
    """One file: its sections, and its patterns with the fragments put in."""

    def __init__(self, sections: Mapping[str, Any]) -> None:
        self.sections = sections
        self._fragments: Mapping[str, str] = sections.get("fragments", {})

    def pattern(self, source: str) -> Pattern:
        """Return a pattern, compiled; `<NAME>` stands for the fragment of that name."""
        return compile_pattern(self.expand(source))

    def patterns(self, section: str) -> tuple[tuple[str, Pattern], ...]:
        """Return the patterns of a section that maps names to them."""
        return tuple((name, self.pattern(source)) for name, source in self.sections[section].items())

    def expand(self, source: str) -> str:
        """Return a pattern's text; a fragment may name fragments that stand before it in the file."""
        return _FRAGMENT.sub(lambda name: self.expand(self._fragments[name[1]]), source)


def load_pack(*path: str) -> Pack:
    """Return a pack of the package's `data` directory."""
    text = (files("mutx_guardrail") / "data").joinpath(*path).read_text("utf-8")
    return Pack(yaml.safe_load(text))
