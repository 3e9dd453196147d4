"""Texts in which capitals mean nothing, and how they read with them."""

from __future__ import annotations

from typing import Final

from mutx_guardrail.pii.name_lists import words_of

# Of this share of words or fewer with a capital, capitals mean nothing; of this share or more with nothing else, too.
_FEW_CAPITALS: Final = 0.04


def is_uncased(text: str) -> bool:
    """Say whether a text is in small letters throughout, but for one word in 25, or in capitals throughout."""
    words = list(words_of(text))
    capitals = sum(word.is_capital for word in words)
    if len(words) > 1 and all(word.text.isupper() for word in words if len(word.text) > 1):
        return True
    return bool(words) and capitals <= _FEW_CAPITALS * len(words)


def with_capitals(text: str) -> str:
    """Return the text with a capital at each word's begin and small letters else, of the same length."""
    lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    pieces, at = [], 0
    for word in words_of(lowered):
        capital = lowered[word.start].upper()
        pieces += [lowered[at : word.start], capital if len(capital) == 1 else lowered[word.start]]
        at = word.start + 1
    return "".join([*pieces, lowered[at:]])
