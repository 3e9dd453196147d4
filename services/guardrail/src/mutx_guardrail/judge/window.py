"""A long text in pieces that the judge takes, each sharing some characters with the last."""

from __future__ import annotations

from mutx_guardrail.verdict import Span


def split_windows(length: int, window: int, overlap: int) -> tuple[Span, ...]:
    """Return spans that cover `length` characters; one, empty, of an empty text.

    What is no longer than the overlap lies whole in one of them.
    """
    last = max(0, length - overlap - 1)
    step = window - overlap
    return tuple(Span(start, min(start + window, length)) for start in range(0, last + 1, step))
