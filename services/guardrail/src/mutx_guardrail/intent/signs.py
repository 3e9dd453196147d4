"""What in a sentence shows that it speaks to an agent, or of what only an agent has: patterns as data, by name.

RE2 looks for all of them at once, in time linear in the sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Final

import re2
import yaml
from pydantic import BaseModel, ConfigDict, Field

from mutx_guardrail.layer import LayerUnavailable
from mutx_guardrail.verdict import Layer

_MEMORY: Final = 64 << 20


class Sign(BaseModel):
    """One sign: alternatives in RE2's syntax, and texts that it must find, and must not (`pass` in the file)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z]{2,20}$")]
    meaning: str
    patterns: Annotated[tuple[str, ...], Field(min_length=1)]
    match: Annotated[tuple[str, ...], Field(min_length=1)]
    exempt: Annotated[tuple[str, ...], Field(min_length=1, alias="pass")]

    def written(self, words: Mapping[str, str]) -> str:
        """Return the alternatives as one pattern, `{name}` replaced by the entry of `words`."""
        whole = "|".join(self.patterns)
        for name, value in words.items():
            whole = whole.replace("{" + name + "}", value)
        return whole


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    words: Mapping[str, str]
    signs: tuple[Sign, ...]


class Signs:
    """All signs, looked for together."""

    def __init__(self, file: _File) -> None:
        options = re2.Options()
        options.max_mem = _MEMORY
        options.log_errors = False
        self.listed, self.version = file.signs, file.version
        self._set = re2.Set.SearchSet(options)
        # The empty pattern hits every text: where it does not, the engine has failed, which it tells in no other way.
        for pattern in (*(sign.written(file.words) for sign in file.signs), ""):
            self._set.Add(pattern)
        self._set.Compile()

    def of(self, lowered: str) -> frozenset[str]:
        """Return the names of the signs that a sentence in lower case shows.

        Raises:
            LayerUnavailable: the engine ran out of the memory that it may use.
        """
        hits = self._set.Match(lowered) or ()
        if len(self.listed) not in hits:
            raise LayerUnavailable(Layer.INTENT, "the engine ran out of its memory")
        return frozenset(self.listed[at].name for at in hits if at < len(self.listed))


@cache
def load_signs() -> Signs:
    """Return the signs of this distribution, compiled once.

    Raises:
        ValueError: the file is not valid; pydantic says what.
    """
    text = files("mutx_guardrail").joinpath("data/intent/signs.yaml").read_text("utf-8")
    return Signs(_File.model_validate(yaml.safe_load(text)))
