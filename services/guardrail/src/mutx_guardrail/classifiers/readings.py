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
PIECES: Final = frozenset(
    {"base64", "base32", "base85", "ascii85", "hex", "binary", "decimal", "octal", "morse", "nato", "braille"}
)
MOSTLY: Final = 0.6

# Folding to look-alikes makes gibberish of a text in another script; where scripts meet within a word it makes sense.
_SCRIPTS_MEET: Final = re.compile(r"[a-zA-Z][\u0370-\u04ff]|[\u0370-\u04ff][a-zA-Z]")


def readings(document: Document) -> Sequence[View]:
    """Return the plain reading, unless most of it is one encoded piece, and the others as far as the bounds go.

    What was decoded is text in clear, and so is what was written with digits for letters or letters apart; what was
    folded to look-alikes is judged where scripts meet within a word.
    """
    plain = document.plain
    mixed = _SCRIPTS_MEET.search(plain.text) is not None
    room = CHARACTERS_FOR_ONE * max(len(plain.text), SHORT)
    found = [] if _is_read_decoded(document) else [plain]
    for view in document.views[1:]:
        unlike = view.text != plain.text and (mixed or view.name != SKELETON)
        if unlike and len(view.text) <= room and len(found) <= MOST_FURTHER:
            room -= len(view.text)
            found.append(view)
    return found


def _is_read_decoded(document: Document) -> bool:
    """Say whether most of the text is one encoded piece, which is judged by what it says and not for being encoded."""
    wanted = MOSTLY * len(document.text)
    return any(
        view.name in PIECES and (span := view.original(0, len(view.text))).end - span.start >= wanted
        for view in document.views[1:]
    )


def judge_readings(document: Document, judge: Callable[[View], Signal]) -> Signal:
    """Return the signal of the reading that scores highest; of a text with nothing to read, none."""
    best = Signal(Layer.CLASSIFIER, 0.0)
    for view in readings(document):
        if view.text.strip():
            found = judge(view)
            best = found if found.score > best.score else best
    return best
