"""Which readings of a text a classifier judges, and how their judgements become one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from mutx_guardrail.document import Document, View
from mutx_guardrail.layer import Signal
from mutx_guardrail.verdict import Layer

# Bounds of the work: how many further readings, and how many characters of them for each of the plain reading.
MOST_FURTHER: Final = 32
CHARACTERS_FOR_ONE: Final = 3
SHORT: Final = 1_000
SKELETON: Final = "skeleton"

# Folding to look-alikes makes gibberish of a text in another script; where scripts meet within a word it makes sense.
_SCRIPTS_MEET: Final = re.compile(r"[a-zA-Z][\u0370-\u04ff]|[\u0370-\u04ff][a-zA-Z]")


def readings(document: Document) -> Sequence[View]:
    """Return the plain reading and the others that a person could read, as far as the bounds go.

    What was decoded is text in clear, and so is what was written with digits for letters or letters apart; what was
    folded to look-alikes is judged where scripts meet within a word.
    """
    plain = document.plain
    mixed = _SCRIPTS_MEET.search(plain.text) is not None
    room = CHARACTERS_FOR_ONE * max(len(plain.text), SHORT)
    found = [plain]
    for view in document.views[1:]:
        unlike = view.text != plain.text and (mixed or view.name != SKELETON)
        if unlike and len(view.text) <= room and len(found) <= MOST_FURTHER:
            room -= len(view.text)
            found.append(view)
    return found


def judge_readings(document: Document, judge: Callable[[View], Signal]) -> Signal:
    """Return the signal of the reading that scores highest; of a text with nothing to read, none."""
    best = Signal(Layer.CLASSIFIER, 0.0)
    for view in readings(document):
        if view.text.strip():
            found = judge(view)
            best = found if found.score > best.score else best
    return best
