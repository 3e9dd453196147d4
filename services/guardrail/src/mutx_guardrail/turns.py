"""A user's turn read together with the end of the turns before it: an attack that is split over turns is whole again.

Only what the caller hands over with a turn is read; nothing of it is kept. The joined reading is the end of the earlier
turns and the begin of this one. Where two turns meet within a word no blank stands between them: the way that takes
fewer tokens is taken, since a tokenizer knows words ("prev" and "ious" are one token, "all" and "previous" two).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mutx_guardrail.document import MOST_TURNS
from mutx_guardrail.normalise.tokens import count_tokens
from mutx_guardrail.verdict import Check, Finding, Span

TAIL, HEAD = 400, 800
"""Characters of the earlier turns together, and of this one."""
_WORD = 24
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Turns as one text; the turn itself begins at `begin`."""

    text: str
    begin: int

    @property
    def tail(self) -> str:
        """What is of the earlier turns."""
        return self.text[: self.begin]

    def told(self, check: Check) -> Check:
        """Return what was found in the joined text as found in the turn: what lies before it is told at its begin."""
        return replace(
            check,
            findings=tuple(self._moved(finding) for finding in check.findings),
            details=f"{check.details}, over several turns",
        )

    def _moved(self, finding: Finding) -> Finding:
        start, end = (max(0, at - self.begin) for at in (finding.span.start, finding.span.end))
        return replace(finding, span=Span(start, end))


def join_turns(earlier: Sequence[str], turn: str) -> Joined | None:
    """Return a turn joined to those before it; None where there is nothing to join.

    Raises:
        VocabularyError: the tokenizer's vocabulary is not there, or is another one.
    """
    head, tail = turn[:HEAD], ""
    for each in (each for each in earlier[-MOST_TURNS:] if each.strip()):
        tail = (tail + _joint(tail, each) + each)[-TAIL:]
    if not tail or not head.strip():
        return None
    tail += _joint(tail, head)
    return Joined(tail + head, len(tail))


def _joint(before: str, after: str) -> str:
    """Return what stands between two turns: nothing where they meet within a word, or are written without blanks."""
    if not before or before[-1].isspace() or after[:1].isspace():
        return ""
    if _UNSPACED.match(before[-1]) and _UNSPACED.match(after):
        return ""
    last = before[-_WORD:].rsplit(maxsplit=1)[-1]
    first = after[:_WORD].split(maxsplit=1)[0]
    # In capitals most words are many tokens, and names are so in small letters.
    cases = {(last, first), (last.lower(), first.lower())}
    is_one = any(count_tokens(f" {one}{other}") < count_tokens(f" {one} {other}") for one, other in cases)
    return "" if is_one else " "
