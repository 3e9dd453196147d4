"""Words that tell what stands beside them (`data/pii/name_words.yml`): titles, particles, what ends no person's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from mutx_guardrail.pii.name_lists import Word
from mutx_guardrail.pii.pack import load_pack


@dataclass(frozen=True, slots=True)
class NameWords:
    """The words by what they tell; in small letters."""

    particles: frozenset[str]
    titles: frozenset[str]
    products: frozenset[str]
    no_last_names: frozenset[str]
    conjunctions: frozenset[str]
    before_places: frozenset[str]
    namesakes: frozenset[str]
    before_things: frozenset[str]
    things: frozenset[str]
    months: frozenset[str]
    before_months: frozenset[str]

    def after_titles(self, words: Sequence[Word]) -> Sequence[Word]:
        """Return the words without the titles at their begin; one that stands alone stays."""
        at = 0
        while at < len(words) - 1 and words[at].text.lower() in self.titles:
            at += 1
        return words[at:]

    def capitals_end(self, words: Sequence[Word]) -> int:
        """Return how many words a name has that begins with them: those with a capital, and particles between."""
        end = 0
        for at, word in enumerate(words):
            if word.is_capital:
                end = at + 1
            elif word.text not in self.particles:
                break
        return end


def load_name_words() -> NameWords:
    """Return the words that the package ships."""
    sections = load_pack("pii", "name_words.yml").sections
    return NameWords(*(frozenset(sections[field.name]) for field in fields(NameWords)))
