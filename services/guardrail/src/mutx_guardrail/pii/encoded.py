"""What stands in a text in base64 or hexadecimal: a value so passed on is passed on all the same.

The readings of layer 0 are those that read as prose; a lone key or number does not, and is decoded here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from mutx_guardrail.document import Document, View

# 16 characters are 12 bytes in base64 and 8 in hexadecimal: less holds no key and no number with a check digit.
_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/_\-])[A-Za-z0-9+/_\-]{16,65536}={0,2}(?![A-Za-z0-9+/_\-=])")
_SEGMENT: Final = re.compile(r"[^/]{16,}")
_HEXADECIMAL: Final = re.compile(r"(?<![A-Za-z0-9])(?:0x)?((?:[0-9a-fA-F]{2}){12,32768})(?![A-Za-z0-9])")
_MOST_PIECES: Final = 64

# Readings in which letters or digits stand for others; a number in them is none of the text.
_FOLDED: Final = re.compile(r"skeleton|leet|joined|rot\d+|atbash|reversed")


def readings(document: Document) -> Iterator[View]:
    """Return the plain reading, those that were decoded, and what else of the plain one decodes to printable ASCII."""
    views = [view for view in document.views if not _FOLDED.search(view.name)]
    yield from views
    known = {view.text for view in views}
    for view in decoded(document.plain):
        if view.text not in known:
            known.add(view.text)
            yield view


def decoded(plain: View) -> Iterator[View]:
    """Return what 64 pieces at most decode to; each reading's characters come of the whole piece."""
    for piece in islice(_BASE64.finditer(plain.text), _MOST_PIECES):
        whole = _view(plain, "base64", _from_base64(piece[0]), piece.span())
        yield from whole or _in_segments(plain, *piece.span())
    for piece in islice(_HEXADECIMAL.finditer(plain.text), _MOST_PIECES):
        yield from _view(plain, "hex", bytes.fromhex(piece[1]), piece.span())


def _in_segments(plain: View, start: int, end: int) -> Iterator[View]:
    """Return what the parts between slashes decode to: a piece may be a step of an address's path."""
    for segment in islice(_SEGMENT.finditer(plain.text, start, end), _MOST_PIECES):
        if segment.span() != (start, end):
            yield from _view(plain, "base64", _from_base64(segment[0]), segment.span())


def _view(plain: View, name: str, content: bytes, span: tuple[int, int]) -> Sequence[View]:
    if not content.isascii() or not content.decode("ascii").translate(_LINE_ENDS).isprintable():
        return ()
    return (plain.decoded(name, content.decode("ascii"), *span),)


def _from_base64(piece: str) -> bytes:
    """Return the bytes of a piece in either alphabet; none where it is not base64."""
    bare = piece.rstrip("=").translate(_STANDARD)
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return b"\0"


_STANDARD: Final = str.maketrans("-_", "+/")
_LINE_ENDS: Final = str.maketrans("", "", "\r\n\t")
