"""Given and family names (`data/pii/names.txt.gz`), and which of them are English words too."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
_ENDINGS: Final = (
    ("s", ""),
    ("es", ""),
    ("ies", "y"),
    ("ed", ""),
    ("ed", "e"),
    ("ing", ""),
    ("ing", "e"),
    ("er", ""),
)
_SHORTEST_COMMON: Final = 3
_POSSESSIVE: Final = re.compile(r"['’]s?$")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text, in code points."""

    start: int
    end: int
    text: str

    @property
    def is_capital(self) -> bool:
        """Whether it begins with a capital letter."""
        return self.text[0].isupper()

    @property
    def is_initial(self) -> bool:
        """Whether it is one letter, as `P` in `Vanessa P. Hertzog`."""
        return len(self.text) == 1 and self.is_capital


@dataclass(frozen=True, slots=True)
class NameLists:
    """What is known of single words as names; asked in any case, with or without a genitive's `'s`."""

    given: frozenset[str]
    family: frozenset[str]
    words: frozenset[str]
    places: frozenset[str]
    common: frozenset[str] = frozenset()

    def is_given(self, word: str) -> bool:
        """Say whether it, or each of its parts, is a given name."""
        return _all_in(self.given, word)

    def is_family(self, word: str) -> bool:
        """Say whether it, or each of its parts, is a family name."""
        return _all_in(self.family, word)

    def is_name(self, word: str) -> bool:
        """Say whether it is either."""
        return self.is_given(word) or self.is_family(word)

    def is_word(self, word: str) -> bool:
        """Say whether a name is also an English word."""
        return _bare(word) in self.words

    def is_common(self, word: str) -> bool:
        """Say whether it is a common English word that is no name, or one with an ending."""
        bare = _bare(word)
        return len(bare) >= _SHORTEST_COMMON and any(
            f in self.common or f in self.words for f in _forms(bare)
        )

    def is_place(self, word: str) -> bool:
        """Say whether a word, or words with a blank between, are a large city's or a country's name."""
        return _bare(word) in self.places


def words_of(text: str) -> Iterator[Word]:
    """Return the words of a text, from left to right; a genitive's `'s` is no part of a word."""
    for match in _WORD.finditer(text):
        word = _POSSESSIVE.sub("", match[0])
        if word:
            yield Word(match.start(), match.start() + len(word), word)


def load_name_lists() -> NameLists:
    """Return the lists that the package ships."""
    entries = [line.split("\t") for line in _lines("names.txt.gz")]
    given, family, words = (frozenset(name for name, flags in entries if flag in flags) for flag in "gfw")
    return NameLists(
        given, family, words, *(frozenset(_lines(f"{file}.txt.gz")) for file in ("places", "common"))
    )


def _lines(file: str) -> list[str]:
    packed = (files("mutx_guardrail") / "data" / "pii" / file).read_bytes()
    return gzip.decompress(packed).decode().splitlines()


def _bare(word: str) -> str:
    return _POSSESSIVE.sub("", word.lower())


def _forms(word: str) -> Iterator[str]:
    """Return a word with and without the endings of a plural or a verb."""
    yield word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 2:
            yield word.removesuffix(ending) + instead


def _all_in(names: frozenset[str], word: str) -> bool:
    bare = _bare(word)
    return bare in names or ("-" in bare and all(part in names for part in bare.split("-")))
