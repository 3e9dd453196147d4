"""Why a text does not pass. No error holds the text, nor the guard's own words about it in its message.

They are raised where no other exception is being handled, so that none of an HTTP client's, which hold the request,
hangs on them as context.
"""

from __future__ import annotations


class GuardError(Exception):
    """The text may not be used."""

    retry_after_s: float | None = None


class Refused(GuardError):  # noqa: N818 - what the guard does
    """The guard judged, and says no.

    Attributes:
        reason: one of the guard's published reasons, as `prompt_injection_detected`.
        action: `block`, `rate_limit` or `pause`.
        confidence: 0 to 1.
        details: the guard's words for an operator: rules and numbers; not part of the message.
        retry_after_s: when it may be asked again, where the guard said so.
        review: the id under which a reviewer finds the verdict; empty where none is kept.
    """

    def __init__(
        self,
        reason: str,
        action: str = "block",
        confidence: float = 1.0,
        details: str = "",
        *,
        retry_after_s: float | None = None,
        review: str = "",
    ) -> None:
        super().__init__(f"the guard refuses the text: {reason} ({action})")
        self.reason, self.action, self.confidence, self.details = reason, action, confidence, details
        self.retry_after_s, self.review = retry_after_s, review

    @property
    def rate_limited(self) -> bool:
        """Whether the agent was asked too often, and the text itself was not judged."""
        return self.action == "rate_limit"

    @property
    def paused(self) -> bool:
        """Whether the agent is paused, and the text itself was not judged."""
        return self.action == "pause"


class GuardUnavailable(GuardError):  # noqa: N818 - what the guard is
    """The text was not judged; it must not be used.

    Attributes:
        cause: `timeout`, `connection`, `malformed` (an answer that says nothing certain), `closed`, `stream-too-long`,
            `too-deep`, or the code of the guard's problem, as `guard-busy`, `guard-degraded`, `agent-foreign`.
        status: of the answer; 0 without one.
    """

    def __init__(self, cause: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(f"the text was not judged: {cause}" + (f" ({status})" if status else ""))
        self.cause, self.status, self.retry_after_s = cause, status, retry_after_s


class SettingsError(Exception):
    """The environment does not describe a guard; the message names the variable and what to do."""

    def __init__(self, variable: str, message: str, remedy: str) -> None:
        super().__init__(f"{variable} {message}: {remedy}")
        self.variable, self.message, self.remedy = variable, message, remedy
