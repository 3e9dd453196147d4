"""Documents as layer 0 would make them, without layer 0."""

from __future__ import annotations

from mutx_guardrail.document import PLAIN, Document, Origin, View


def document_of(text: str, *further: View) -> Document:
    """Return a text whose plain reading is itself, with some further readings."""
    plain = View.whole(PLAIN, text)
    return Document(text, Origin.USER, (plain, *further), ())
