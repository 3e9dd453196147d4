"""What an agent is there for, and whether an instruction lies within that."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mutx_guardrail.intent.lexicon import STEM, Deed, Lexicon

_WORD: Final = re.compile(r"[^\W\d_]{3,}")


def stems(text: str, lexicon: Lexicon) -> list[str]:
    """Return the words of a text that carry meaning, cut to their first letters."""
    return [word[:STEM] for word in _WORD.findall(text.lower()) if word not in lexicon.common]


class Cover(StrEnum):
    """By what an instruction is covered; by `TASK`, what the user asked for now, it may well be wanted."""

    NOTHING = "nothing"
    PURPOSE = "purpose"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Ground:
    """What an agent was told: the words that carry meaning, and the deeds that they name."""

    words: frozenset[str]
    deeds: frozenset[Deed]

    @classmethod
    def of(cls, text: str, lexicon: Lexicon) -> Ground:
        """Return what a declaration or a task names; an empty one names nothing."""
        words = _WORD.findall(text.lower())
        commanded = {deed for word in words for deed in lexicon.verbs.get(word, ())}
        named = {
            deed for deed, begins in lexicon.named.items() if any(word.startswith(begins) for word in words)
        }
        return cls(frozenset(stems(text, lexicon)) - lexicon.stems, frozenset(commanded | named))

    def covers(self, deeds: frozenset[Deed], words: Iterable[str]) -> bool:
        """Say whether one of an instruction's deeds is named, and something that it is done to as well."""
        return bool(deeds & self.deeds) and not self.words.isdisjoint(words)


@dataclass(frozen=True, slots=True)
class Purpose:
    """What the agent is declared to be there for, and what its user asked of it now."""

    declared: Ground
    task: Ground

    @classmethod
    def of(cls, declared: str, task: str, lexicon: Lexicon) -> Purpose:
        """Return a purpose; either text may be empty."""
        return cls(Ground.of(declared, lexicon), Ground.of(task, lexicon))

    def cover(self, deeds: frozenset[Deed], words: list[str]) -> Cover:
        """Return by what an instruction is covered."""
        if self.task.covers(deeds, words):
            return Cover.TASK
        return Cover.PURPOSE if self.declared.covers(deeds, words) else Cover.NOTHING


class Topic:
    """What a text is about, by its words: whether a sentence of it belongs there."""

    def __init__(self, text: str, lexicon: Lexicon) -> None:
        self._counts = Counter(stems(text, lexicon))
        self._total = sum(self._counts.values())

    @property
    def is_known(self) -> bool:
        """Whether the text has enough words to tell."""
        return self._total >= 25  # noqa: PLR2004 - some three sentences

    def share(self, words: list[str]) -> float:
        """Return which share of a sentence's words (0 to 1) stand elsewhere in the text as well."""
        own = Counter(words)
        if not own:
            return 1.0
        return sum(self._counts[word] > count for word, count in own.items()) / len(own)
