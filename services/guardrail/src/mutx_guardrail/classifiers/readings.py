"""Which readings of a text a classifier judges, and how their judgements become one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from mutx_guardrail.document import Document, View
from mutx_guardrail.layer import Signal
from mutx_guardrail.verdict import Layer

MOST_FURTHER: Final = 3
# In characters; the length check lets pass about a third of it (8,192 tokens).
LONGEST_FURTHER: Final = 100_000
SKELETON: Final = "skeleton"
# Layer 1 reads it: in technical text digits are digits.
NOT_READ: Final = frozenset({"leet"})

# Folding to look-alikes makes gibberish of a text in another script; where scripts meet within a word it makes sense.
_SCRIPTS_MEET: Final = re.compile(r"[a-zA-Z][\u0370-\u04ff]|[\u0370-\u04ff][a-zA-Z]")


def readings(document: Document) -> Sequence[View]:
    """Return the plain reading and at most three others that a person could read.

    What was decoded is text in clear; what was folded to look-alikes is judged where scripts meet within a word.
    """
    plain = document.plain
    mixed = _SCRIPTS_MEET.search(plain.text) is not None
    further = [
        view
        for view in document.views[1:]
        if len(view.text) <= LONGEST_FURTHER
        and view.text != plain.text
        and view.name not in NOT_READ
        and (mixed or view.name != SKELETON)
    ]
    return [plain, *further[:MOST_FURTHER]]


def judge_readings(document: Document, judge: Callable[[View], Signal]) -> Signal:
    """Return the signal of the reading that scores highest; of a text with nothing to read, none."""
    best = Signal(Layer.CLASSIFIER, 0.0)
    for view in readings(document):
        if view.text.strip():
            found = judge(view)
            best = found if found.score > best.score else best
    return best
