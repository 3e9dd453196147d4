"""How much of an output that is still being written may be shown: the rest may grow into something to be masked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mutx_guardrail.document import View
from mutx_guardrail.verdict import Span, Verdict

HELD_BACK = 160
"""Characters that wait for what comes after them; a longer finding across the end is held back when seen."""
STREAMABLE = frozenset({"text", "html"})
"""Sinks whose escaping goes character by character."""


@dataclass(frozen=True, slots=True)
class Released:
    """What of a stream may be shown now.

    Attributes:
        text: changed as the policy says; empty where more is needed.
        taken: how many characters of the new text it stands for; the caller hands in the others again.
    """

    verdict: Verdict
    text: str
    taken: int

    def document(self) -> dict[str, object]:
        """Return the verdict's JSON form with what is released; the text as a whole is left out."""
        whole = self.verdict.document()
        whole.pop("sanitized", None)
        return whole | {"release": self.text, "taken": self.taken}


def boundary(text: str, offset: int, found: Iterable[Span], *, is_last: bool) -> int:
    """Return how many characters of a new piece may be released.

    Args:
        text: the new piece.
        offset: where it begins in what was judged.
        found: spans in what was judged that must not be torn apart.
        is_last: nothing comes after it.
    """
    if is_last:
        return len(text)
    room = len(text) - HELD_BACK
    if room <= 0:
        return 0
    blank = max(text.rfind(" ", 0, room), text.rfind("\n", 0, room))
    end = offset + (blank + 1 if blank >= 0 else room)
    for span in sorted(found, reverse=True):
        if span.start < end < span.end:
            end = span.start
    return max(0, end - offset)


def slice_of(view: View, start: int, end: int) -> str:
    """Return the part of a reading that comes of characters `start` to `end` of the given text."""
    sources = (view.original(at, at + 1) for at in range(len(view.text)))
    return "".join(
        character for character, source in zip(view.text, sources, strict=True) if start <= source.start < end
    )
