"""The verbs that command, by class of action, and the words of grammar around them, in seven languages: as data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

STEM: Final = 5
"""Letters that words are compared by: enough for most endings, in all languages."""


class Deed(StrEnum):
    """What an instruction wants done. Each is the end of a rule's id: `intent-send`."""

    SEND = "send"
    PAY = "pay"
    DELETE = "delete"
    CHANGE = "change"
    OPEN = "open"
    RUN = "run"
    COLLECT = "collect"
    SAY = "say"
    ANSWER = "answer"
    PRODUCE = "produce"
    OVERRIDE = "override"
    ASK = "ask"
    CONCEAL = "conceal"


@dataclass(frozen=True, slots=True)
class Grammar:
    """Words by what they do for a command; the lexicon's comments say what."""

    leads: frozenset[str]
    joins: frozenset[str]
    subordinate: frozenset[str]
    objects: frozenset[str]
    no_objects: frozenset[str]
    modals: frozenset[str]
    you: frozenset[str]
    who: frozenset[str]
    must: frozenset[str]
    asks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words in lower case, by what they mean.

    Attributes:
        verbs: what those that command want done.
        english: those of them that are English.
        nounish: those that are as often nouns.
        stems: the first letters of all verbs.
        common: words of all languages that carry no meaning of their own.
        named: how words begin that name a class of action without commanding it.
    """

    version: str
    verbs: Mapping[str, frozenset[Deed]]
    english: frozenset[str]
    nounish: frozenset[str]
    stems: frozenset[str]
    common: frozenset[str]
    named: Mapping[Deed, tuple[str, ...]]
    grammar: Grammar

    def mentions(self, words: Iterable[str]) -> bool:
        """Say whether one of the words may be a verb that commands."""
        return not self.verbs.keys().isdisjoint(words) or any(word.endswith("ing") for word in words)


@cache
def load_lexicon() -> Lexicon:
    """Return the lexicon; it is read once.

    Raises:
        ValueError: a class is none of `Deed`.
        KeyError: a part is missing.
    """
    text = files("mutx_guardrail").joinpath("data/intent/lexicon.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    verbs: dict[str, set[Deed]] = defaultdict(set)
    english: set[str] = set()
    for deed, by_language in document["verbs"].items():
        for language, forms in by_language.items():
            for form in forms.split():
                verbs[form].add(Deed(deed))
            if language == "en":
                english.update(forms.split())
    return Lexicon(
        version=document["version"],
        verbs={form: frozenset(deeds) for form, deeds in verbs.items()},
        english=frozenset(english),
        nounish=frozenset(document["nounish"].split()),
        stems=frozenset(form[:STEM] for form in verbs),
        common=frozenset(document["common"].split()),
        named={Deed(deed): tuple(begins.split()) for deed, begins in document["named"].items()},
        grammar=Grammar(
            **{each.name: frozenset(document["grammar"][each.name].split()) for each in fields(Grammar)}
        ),
    )
