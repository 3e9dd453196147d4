"""How long a text is in tokens, by the tokenizer cl100k_base: the unit of every length limit.

It is a measure, not the model's own count: other vocabularies differ by some ten percent on English.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from functools import lru_cache
from importlib.metadata import files

import tiktoken

_FILE = "bpe_openai/data/cl100k_base.tiktoken.gz"
_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
"""Of the unpacked file, as OpenAI publishes it."""
_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)
LONGEST_TOKEN = 128
"""Characters: the longest entry of the vocabulary (blanks)."""


class VocabularyError(Exception):
    """The vocabulary is not there, or is another one."""


@lru_cache(maxsize=1)
def _encoding() -> tiktoken.Encoding:
    packed = [file for file in files("bpe-openai") or () if str(file) == _FILE]
    if not packed:
        raise VocabularyError(f"{_FILE} is not installed")
    content = gzip.decompress(packed[0].read_binary())
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise VocabularyError(f"{_FILE} is another one than was pinned")
    pairs = (line.split() for line in content.splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
    return tiktoken.Encoding("cl100k_base", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})


def count_tokens(text: str) -> int:
    """Return how many tokens a text has.

    Raises:
        VocabularyError: the vocabulary is not there, or its hash is wrong.
    """
    return len(_encoding().encode_ordinary(text))


def exceeds(text: str, limit: int) -> bool:
    """Say whether a text has more than `limit` tokens, without counting one that certainly has."""
    if len(text) > limit * LONGEST_TOKEN:
        return True
    # Each token has at least one byte; no text has more tokens than bytes.
    return len(text) * 4 > limit and count_tokens(text) > limit
