"""What a text looks like without a language model: hashed n-grams, and measures of style.

N-grams carry the languages that the encoder does not know; the measures of style see strings that no person writes.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mutx_guardrail.classifiers.encoder import Floats

BUCKETS: Final = 1 << 18
CHARACTERS: Final = (2, 3, 4, 5)
STYLES: Final = (
    "pieces per character", "inner pieces", "unknown pieces", "rare pieces", "punctuation", "digits", "upper case",
    "not ASCII", "not Latin", "letters", "longest word", "spaces", "line breaks", "distinct words",
    "worst run of inner pieces", "worst run of marks", "worst run of rare pieces", "quotes", "brackets", "markup",
)  # fmt: skip

_FIRST_PIECES: Final = 1_996
_RARE: Final = 12_000
_UNKNOWN: Final = 100
_LAST_UNUSED: Final = 998
_ASCII, _LATIN = 0x7F, 0x24F
_RUN: Final = 14
_SHORTEST: Final = 25
_MOST_SENTENCES: Final = 12
_BREAK: Final = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n+|(?<=[\u3002\uff01\uff1f])")
_WORD: Final = re.compile(r"\w+|[^\w\s]")
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)


def ngrams(text: str) -> tuple[NDArray[np.int64], Floats]:
    """Return the buckets of a text's character and word n-grams, and their weights.

    Each occurs once; characters and words have length one each, so that no text weighs more by being longer.
    """
    lowered = " ".join(text.lower().split())
    parts = [np.unique(_characters(lowered)), np.unique(_words(lowered))]
    weights = [np.full(len(part), 1 / max(np.sqrt(len(part)), 1), dtype=np.float32) for part in parts]
    return np.concatenate(parts), np.concatenate(weights)


def sentences(text: str) -> list[str]:
    """Return the first sentences and lines of a text, short ones joined to the one before: at most 12."""
    found: list[str] = []
    for part in _BREAK.split(text):
        if part and found and len(found[-1]) < _SHORTEST:
            found[-1] += f" {part}"
        elif part:
            found.append(part)
    return found[:_MOST_SENTENCES]


def _characters(text: str) -> NDArray[np.int64]:
    codes = np.frombuffer(f" {text} ".encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    found = []
    for size in CHARACTERS:
        if len(codes) >= size:
            mixed = np.full(len(codes) - size + 1, size, dtype=np.uint64)
            for place in range(size):
                mixed = (mixed ^ codes[place : len(codes) - size + 1 + place]) * _MULTIPLIER
                mixed ^= mixed >> np.uint64(29)
            found.append(mixed)
    return _bucket(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)


def _words(text: str) -> NDArray[np.int64]:
    words = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in _WORD.findall(text)]
    codes = np.array(words, dtype=np.uint64)
    found = [codes * _MULTIPLIER]
    for size in (2, 3):
        if len(codes) >= size:
            mixed = found[-1][:-1] ^ (codes[size - 1 :] * np.uint64(size * 2 + 1))
            found.append(mixed * _MULTIPLIER)
    return _bucket(np.concatenate(found))


def _bucket(codes: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (codes >> np.uint64(64 - BUCKETS.bit_length() + 1)).astype(np.int64)


def styles(text: str, ids: NDArray[np.int64], inner: NDArray[np.bool_]) -> Floats:
    """Return the measures of `STYLES`, in this order.

    Args:
        text: what is measured.
        ids: the numbers of the text's word pieces; the vocabulary is sorted by how common a piece is.
        inner: which pieces go on within a word.
    """
    size, count = max(len(text), 1), max(len(ids), 1)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    letters = sum(map(str.isalpha, text))
    words = text.split()
    marks = (ids < _FIRST_PIECES) & (ids > _LAST_UNUSED)
    rare = (ids > _RARE) & ~inner
    return np.array(
        [
            len(ids) / size,
            inner.sum() / count,
            (ids == _UNKNOWN).sum() / count,
            rare.sum() / count,
            (size - letters - sum(map(str.isspace, text)) - sum(map(str.isdigit, text))) / size,
            sum(map(str.isdigit, text)) / size,
            sum(map(str.isupper, text)) / max(letters, 1),
            (codes > _ASCII).sum() / size,
            (codes > _LATIN).sum() / size,
            letters / size,
            min(max(map(len, words), default=0), 80) / 80,
            text.count(" ") / size,
            min(text.count("\n") * 20 / size, 1),
            len(set(words)) / max(len(words), 1),
            _worst_run(inner),
            _worst_run(marks),
            _worst_run(rare),
            min(sum(text.count(mark) for mark in "\"'`“”«»") * 20 / size, 1),
            min(sum(text.count(mark) for mark in "[](){}") * 20 / size, 1),
            min(sum(text.count(mark) for mark in ("</", "<|", "###", "```", "<<")) * 60 / size, 1),
        ],
        dtype=np.float32,
    )


def _worst_run(flags: NDArray[np.bool_]) -> float:
    """Return the highest share of flags in any run of 14 pieces."""
    if len(flags) == 0:
        return 0.0
    width = min(_RUN, len(flags))
    total = np.concatenate([[0], np.cumsum(flags)])
    return float((total[width:] - total[:-width]).max() / width)
