"""Why a judged call does not go through: told to the agent in its provider's own form, and never with a text."""

from __future__ import annotations

from mutx_guardrail.verdict import Reason, Verdict

BAD_REQUEST = 400


class Refusal(Exception):  # noqa: N818 - the answer, told as one
    """The call, or its answer, does not pass.

    Args:
        code: a reason of a verdict, or one of the egress's own.
        message: a sentence for whoever runs the agent; it holds nothing of the texts.
        status: of the answer, where none has begun.
    """

    def __init__(self, code: str, message: str, status: int = BAD_REQUEST) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


def refusal_of(verdict: Verdict, what: str) -> Refusal:
    """Return the refusal that a verdict asks for. `what` says which side was judged: the request or the answer."""
    check = verdict.refusal
    if check is None:
        raise ValueError("the verdict refuses nothing")
    reason = Reason.CHECK_UNAVAILABLE if check.unavailable else check.reason
    code = reason.value if reason else Reason.CHECK_UNAVAILABLE.value
    return Refusal(code, f"the guardrail refused {what}: {code}")
