"""Qwen3Guard-Gen (0.6B, 4B, 8B).

The chat template holds the instruction: a conversation that ends with the user's turn has that turn judged, one that
ends with the assistant's has that. The answer is

    Safety: Safe | Controversial | Unsafe
    Categories: one of nine, or None
    Refusal: Yes | No            (of responses; the larger models write it of prompts too)

It names one category, the main one, so a text that is both a jailbreak and violent may be told as violent alone: then
`toxic_content` has the score, and the text is stopped by that.

Source: the model card of Qwen/Qwen3Guard-Gen-0.6B; its makers on one category (QwenLM/Qwen3Guard, issue 7).
"""

from __future__ import annotations

import re
from typing import Final

from mutx_guardrail.judge.answer import Answer, Unreadable
from mutx_guardrail.judge.confidence import SURE, label_likelihoods
from mutx_guardrail.judge.family import Direction, Question, Reading, Subject
from mutx_guardrail.verdict import CheckName

SAFE, CONTROVERSIAL, UNSAFE = LABELS = ("Safe", "Controversial", "Unsafe")
JAILBREAK: Final = "Jailbreak"
HARMFUL: Final = frozenset(
    {
        "Violent",
        "Non-violent Illegal Acts",
        "Sexual Content or Sexual Acts",
        "Suicide & Self-Harm",
        "Unethical Acts",
    }
)
OTHER: Final = frozenset({"PII", "Politically Sensitive Topics", "Copyright Violation"})
"""Not what the two checks look for: personal data has a check of its own, politics and copyright none."""
WEIGHT_OF_CONTROVERSIAL: Final = 0.6
"""Likelihood that a controversial text is what is looked for: just past the threshold."""

_FORM = re.compile(
    r"\s*Safety: (Safe|Controversial|Unsafe)\nCategories: ([A-Za-z&\- ]+)(?:\nRefusal: (?:Yes|No))?\s*"
)
_LABEL = re.compile(r"Safety: ?")


class Qwen3Guard:
    """Tells injection and toxicity of a text to an agent, safety of one from it; one request."""

    def checks(self, direction: Direction) -> tuple[CheckName, ...]:
        """Return what the family tells."""
        if direction is Direction.INPUT:
            return (CheckName.PROMPT_INJECTION, CheckName.TOXIC_CONTENT)
        return (CheckName.SAFE_CONTENT,)

    def questions(self, subject: Subject) -> tuple[Question, ...]:
        """Ask once."""
        return (Question(subject.turns, self.checks(subject.direction), max_tokens=64),)

    def read(self, question: Question, answer: Answer) -> Reading:
        """Read the two or three lines."""
        found = _FORM.fullmatch(answer.text)
        if found is None:
            raise Unreadable("the answer is not of Qwen3Guard's form")
        label, category = found[1], found[2]
        if category not in HARMFUL | OTHER | {JAILBREAK, "None"} or (category == "None") != (label == SAFE):
            raise Unreadable("the answer's label and category do not go together")
        likely = _likelihood(answer, label)
        labels = {check: category for check in question.checks if _concerns(check, category)}
        # What the label is not about is as unlikely as a text that is called safe outright.
        scores = {
            check: likely if label == SAFE or check in labels else 1 - SURE for check in question.checks
        }
        return Reading(scores, labels)


def _concerns(check: CheckName, category: str) -> bool:
    if check is CheckName.PROMPT_INJECTION:
        return category == JAILBREAK
    return category in HARMFUL


def _likelihood(answer: Answer, label: str) -> float:
    """Return how likely the text is not safe."""
    start = _LABEL.search(answer.joined)
    shares = label_likelihoods(answer.tokens, start.end(), LABELS) if start else None
    if shares is None:
        return {SAFE: 1 - SURE, CONTROVERSIAL: WEIGHT_OF_CONTROVERSIAL, UNSAFE: SURE}[label]
    return shares[UNSAFE] + WEIGHT_OF_CONTROVERSIAL * shares[CONTROVERSIAL]
