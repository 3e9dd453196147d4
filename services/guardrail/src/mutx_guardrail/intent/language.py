"""Whether a text is in a language that the layer knows: where it is not, its silence says nothing."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from mutx_guardrail.intent.lexicon import load_lexicon

_WORD: Final = re.compile(r"[^\W\d_]+")
_LOOKED_AT: Final = 400
"""Words of a text that its language is told by."""
_FEWEST: Final = 12
"""Words below which a text is in no language in particular."""
_SHARE: Final = 0.03
"""Share of words of grammar: a fifth to a half in prose of a language that is known, next to none in another."""
_LAST_LATIN: Final = 0x24F


def is_known(text: str) -> bool:
    """Say whether a text is in one of the lexicon's languages, or too short to be in any.

    A text that is mixed of a known and another language counts as known; then the other layers judge the rest.
    """
    common = load_lexicon().common
    words = [match.group() for match in islice(_WORD.finditer(text.lower()), _LOOKED_AT)]
    others = sum(ord(word[0]) > _LAST_LATIN for word in words)
    if others * 4 > len(words):
        return False
    return len(words) < _FEWEST or sum(word in common for word in words) >= _SHARE * len(words)
