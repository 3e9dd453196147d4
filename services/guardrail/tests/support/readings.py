"""Documents for tests of single detectors: readings made by hand."""

from __future__ import annotations

import unicodedata

from mutx_guardrail.document import Document, OffsetMap, Origin, View


def document_of(text: str, *decoded: str) -> Document:
    """Return a document whose plain reading is the text, and which has further readings of the whole of it."""
    plain = View.whole("plain", text)
    whole = plain.original(0, len(text))
    others = (View("base64>plain", reading, OffsetMap.constant(len(reading), whole)) for reading in decoded)
    return Document(text, Origin.USER, (plain, *others), ())


def normalised(text: str) -> Document:
    """Return a document whose plain reading is NFKC without format characters, each mapped to its source."""
    characters, starts, ends = [], [], []
    for at, character in enumerate(text):
        if unicodedata.category(character) == "Cf":
            continue
        for one in unicodedata.normalize("NFKC", character):
            characters.append(one)
            starts.append(at)
            ends.append(at + 1)
    plain = View("plain", "".join(characters), OffsetMap(starts, ends))
    return Document(text, Origin.USER, (plain,), ())
