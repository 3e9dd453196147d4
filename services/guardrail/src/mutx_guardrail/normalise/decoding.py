"""Readings that undo encodings: what a model would decode by itself, and a filter that reads letters would miss.

A decoded piece counts only if it reads as text; so a hash, a key or a picture in base64 gives no reading. Everything is
bounded: pieces, their length, and how deep encodings may be nested.
"""

from __future__ import annotations

import binascii
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from mutx_guardrail.deadline import check_time
from mutx_guardrail.document import View
from mutx_guardrail.normalise.codes import ALPHABETS, BACK, DECODERS, HIDDEN, Decoder

MOST_VIEWS = 12
MOST_DEPTH = 3
LONGEST_PIECE = 65_536
SHORTEST_TEXT = 6
"""Characters of a decoded text; less carries no instruction."""

_COMMON = (
    "about all and any answer are bypass can disregard everything forget from give have how ignore instructions "
    "know make message now pretend previous print prompt repeat reveal rules say show system tell that the their this "
    "what when which will with without write you your"
)
_WORDS = frozenset(_COMMON.split())
_ORDINARY = _WORDS | {"war", "won", "was", "saw", "tub", "pot", "top", "gun", "guy", "hat", "has", "her"}
"""Words that another word turns into under some cipher."""
_LOOKED_AT = 4_000
_ENOUGH = 0.2
_PLENTY = 5
_WORD = re.compile(r"[a-z']+")


def decode_all(plain: View, hidden: list[View]) -> list[View]:
    """Return the readings of all that is encoded within a text, and within what was decoded, at most `MOST_VIEWS`.

    Args:
        plain: the text without what hides.
        hidden: readings of what hid (tag characters and the like), found in the text as it was given.
    """
    found = list(hidden)
    queue = [(plain, 0), *((view, 1) for view in hidden)]
    seen = {plain.text, *(view.text for view in hidden)}
    while queue:
        view, depth = queue.pop(0)
        for name, text, start, end in _pieces(view.text):
            if len(found) == MOST_VIEWS:
                return found
            if text in seen:
                continue
            seen.add(text)
            chain = name if view.name == plain.name else f"{view.name}>{name}"
            decoded = view.decoded(chain, text, start, end)
            found.append(decoded)
            if depth + 1 < MOST_DEPTH:
                queue.append((decoded, depth + 1))
    return found


def decode_hidden(given: str) -> list[View]:
    """Return the readings of messages in characters that are not shown."""
    whole = View.whole("given", given)
    found = []
    for decoder in HIDDEN:
        for piece in decoder.pieces.finditer(given):
            text = _as_text(decoder, piece.group())
            if text is not None:
                found.append(whole.decoded(decoder.name, text, *piece.span()))
                if len(found) == MOST_VIEWS // 2:
                    return found
    return found


def _pieces(text: str) -> Iterator[tuple[str, str, int, int]]:
    for decoder in DECODERS:
        check_time()
        if decoder.sign and not decoder.sign.search(text):
            continue
        for piece in decoder.pieces.finditer(text):
            if piece.end() - piece.start() > LONGEST_PIECE:
                continue
            decoded = _as_text(decoder, piece.group())
            if decoded is not None:
                yield decoder.name, decoded, *piece.span()
    for name, decoded in _ciphered(text):
        yield name, decoded, 0, len(text)


def _as_text(decoder: Decoder, piece: str) -> str | None:
    try:
        decoded = decoder.decode(piece)
        text = decoded if isinstance(decoded, str) else decoded.decode("utf-8")
    except (ValueError, binascii.Error, OverflowError):
        return None
    return text if text != piece and _reads_as_text(text) else None


def _reads_as_text(text: str) -> bool:
    """Say whether most characters are letters and blanks, as in any language's text."""
    if len(text) < SHORTEST_TEXT:
        return False
    readable = sum(1 for character in text if character.isalpha() or character in " \n")
    shown = sum(1 for character in text if character.isprintable() or character in "\n\r\t")
    is_encoded_again = text.isascii() and text.isalnum()
    return shown >= 0.95 * len(text) and (readable >= 0.7 * len(text) or is_encoded_again)


def _ciphered(text: str) -> Iterator[tuple[str, str]]:
    """Yield the text under another alphabet or turned round, where common English words stand in it so."""
    if len(text) > LONGEST_PIECE:
        return
    words = _WORD.findall(text[:_LOOKED_AT].casefold())
    disguised = _disguised_words()
    hits = Counter(name for word in words for name in disguised.get(word, ()))
    for name, count in hits.most_common(2):
        if count >= max(2, len(words) * _ENOUGH) or count >= _PLENTY:
            if name == "reversed":
                yield name, text[::-1]
                yield "reversed-words", " ".join(word[::-1] for word in text.split(" "))
            else:
                yield name, text.translate(ALPHABETS[name])


@lru_cache(maxsize=1)
def _disguised_words() -> dict[str, tuple[str, ...]]:
    """Return which ciphers each disguised word may be of; ordinary words are none."""
    found: dict[str, set[str]] = {}
    for word in _WORDS:
        for name, table in BACK.items():
            found.setdefault(word.translate(table).casefold(), set()).add(name)
        found.setdefault(word[::-1], set()).add("reversed")
    return {word: tuple(sorted(names)) for word, names in found.items() if word not in _ORDINARY}
