"""A run that does not pass: the problem that tells it, with the verdict."""

from __future__ import annotations

import math

from mutx_service.problem import Kinds, Problem

from mutx_guardrail.service.problems import TOLD_ON
from mutx_guardrail.verdict import Action, Layer, Reason, Verdict

_ERRORS = frozenset(
    {"agent-unreachable", "agent-malformed", "agent-timeout", "agent-failed", "answer-too-large", "output-refused"}
)  # fmt: skip
_SERVER_ERROR = 500


class Refused(Problem):
    """A problem with the verdict that it comes of.

    Args:
        verdict: its JSON form; texts are left out.
    """

    def __init__(
        self, code: str, verdict: dict[str, object], detail: str = "", *, retry_after_s: int | None = None
    ) -> None:
        super().__init__(code, detail, retry_after_s=retry_after_s)
        self.verdict = without_texts(verdict)

    def document(self, kinds: Kinds, trace_id: str = "") -> dict[str, object]:
        """Return the problem's JSON document with the member `verdict`."""
        return {**super().document(kinds, trace_id), "verdict": self.verdict}


def refuse(verdict: Verdict, document: dict[str, object], code: str, detail: str = "") -> Refused:
    """Return the problem of a verdict that is not allowed.

    Args:
        verdict: what was found.
        document: its JSON form.
        code: where it is about the text itself, `input-refused` or `output-refused`.
        detail: which text.

    Raises:
        ValueError: the verdict refuses nothing.
    """
    check = verdict.refusal
    if check is None:
        raise ValueError("the verdict refuses nothing")
    wait_s = math.ceil(check.wait_s) or None
    if check.action is Action.RATE_LIMIT:
        return Refused("agent-rate-limited", document, retry_after_s=wait_s)
    if check.action is Action.PAUSE:
        return Refused("agent-paused", document, retry_after_s=wait_s)
    if check.unavailable and check.reason in {None, Reason.CHECK_UNAVAILABLE}:
        return Refused(
            "store-unavailable" if Layer.ANOMALY in check.unavailable else "guard-degraded", document
        )
    return Refused(code, document, detail)


def without_texts(verdict: dict[str, object]) -> dict[str, object]:
    """Return a verdict's JSON form without the text that may be passed on."""
    return {name: value for name, value in verdict.items() if name != "sanitized"}


def speaks_for_agent(code: str) -> bool | None:
    """Say what a failed run is to the watch over its agent: False an error; None nothing, where it is not the agent's.

    An error is what `anomaly.errors` calls one: an answer of the agent's of 500 to 599, none in time, none at all, one
    that cannot be understood, or one that was refused.
    """
    kind = TOLD_ON.get(code)
    return False if code in _ERRORS or (kind is not None and kind.status >= _SERVER_ERROR) else None
