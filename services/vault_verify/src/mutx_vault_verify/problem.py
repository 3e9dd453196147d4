"""Why a verification could not be made: what happened, what to do about it, and the exit status."""

from __future__ import annotations

from typing import ClassVar


class Problem(Exception):  # noqa: N818 - it is not always an error of ours
    """No verdict was reached.

    Args:
        message: what happened, in one sentence, without a secret.
        code: stable kebab-case identifier.
        remedy: what to do next.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.code, self.remedy = message, code, remedy


class InputProblem(Problem):
    """A file, option or variable is missing or not what it should be."""

    exit_status = 3


class OutsideProblem(Problem):
    """The Vault cannot be asked, or answers in a way that nothing can be concluded from."""

    exit_status = 5


class Unanswered(Exception):  # noqa: N818 - one question without an answer; the others go on
    """The Vault refused one question, or its answer makes no sense: what was asked stays unknown."""
