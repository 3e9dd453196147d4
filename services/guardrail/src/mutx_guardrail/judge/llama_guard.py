"""Llama Guard 3 and 4, and models that answer in their form.

The chat template holds the instruction and the hazard categories. The answer is `safe`, or `unsafe` and on a second
line the categories' codes, separated by commas. It says nothing of prompt injection.

Source: the model cards of meta-llama/Llama-Guard-3-8B and Llama-Guard-4-12B (MLCommons' hazards S1 to S13, and S14).
"""

from __future__ import annotations

import re
from typing import Final

from mutx_guardrail.judge.answer import Answer, Unreadable
from mutx_guardrail.judge.confidence import SURE, label_likelihoods
from mutx_guardrail.judge.family import Direction, Question, Reading, Subject
from mutx_guardrail.verdict import CheckName

SAFE, UNSAFE = "safe", "unsafe"
CODES: Final = frozenset(f"S{number}" for number in range(1, 15))
OTHER: Final = frozenset({"S6", "S7", "S8", "S13"})
"""Specialised advice, privacy, intellectual property, elections: not what the checks look for."""

_FORM = re.compile(r"\s*(?:(safe)|(unsafe)\n(S\d{1,2}(?:, ?S\d{1,2})*))\s*")
_LABEL = re.compile(r"(?:safe|unsafe)")


class LlamaGuard:
    """Tells toxicity of a text to an agent, safety of one from it; one request."""

    def checks(self, direction: Direction) -> tuple[CheckName, ...]:
        """Return what the family tells."""
        return (CheckName.TOXIC_CONTENT if direction is Direction.INPUT else CheckName.SAFE_CONTENT,)

    def questions(self, subject: Subject) -> tuple[Question, ...]:
        """Ask once."""
        return (Question(subject.turns, self.checks(subject.direction), max_tokens=48),)

    def read(self, question: Question, answer: Answer) -> Reading:
        """Read the one or two lines."""
        found = _FORM.fullmatch(answer.text)
        codes = re.split(", ?", found[3]) if found and found[3] else []
        if found is None or not CODES.issuperset(codes):
            raise Unreadable("the answer is not of Llama Guard's form")
        likely = _likelihood(answer, is_safe=bool(found[1]))
        counted = [code for code in codes if code not in OTHER]
        if codes and not counted:
            return Reading(dict.fromkeys(question.checks, 1 - SURE))
        return Reading(
            dict.fromkeys(question.checks, likely), dict.fromkeys(question.checks, ",".join(counted))
        )


def _likelihood(answer: Answer, *, is_safe: bool) -> float:
    start = _LABEL.search(answer.joined)
    shares = label_likelihoods(answer.tokens, start.start(), (SAFE, UNSAFE)) if start else None
    if shares is None:
        return 1 - SURE if is_safe else SURE
    return shares[UNSAFE]
