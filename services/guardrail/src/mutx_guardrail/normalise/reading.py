"""Layer 0 as a whole: a text, read in every way that the later layers judge."""

from __future__ import annotations

from mutx_guardrail.document import Document, Origin, View
from mutx_guardrail.normalise.characters import clean
from mutx_guardrail.normalise.decoding import decode_all, decode_hidden
from mutx_guardrail.normalise.folding import fold_compatibility, fold_digits, fold_look_alikes, join_letters


def read_text(text: str, origin: Origin = Origin.USER) -> Document:
    """Return the text with its readings; work and memory grow with its length, which the caller bounds."""
    cleaned, edits, removed = clean(text)
    plain = fold_compatibility(cleaned)
    skeleton = fold_look_alikes(plain)
    base = skeleton or plain
    folded = [view for view in (skeleton, join_letters(base), fold_digits(base)) if view is not None]
    decoded = decode_all(plain, decode_hidden(text) if removed else [])
    if skeleton is not None:
        decoded += _decoded_of(skeleton, plain, decoded)
    return Document(text, origin, (plain, *folded, *decoded), removed, edits)


def _decoded_of(skeleton: View, plain: View, known: list[View]) -> list[View]:
    """Return what only the folded text decodes to (an encoding written in another script's letters)."""
    texts = {view.text for view in known}
    return [view for view in decode_all(skeleton, []) if view.text not in texts and view.text != plain.text]
