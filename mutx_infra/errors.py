"""Every failure an operator can meet: what happened, where, and what to do next.

Each class owns its exit status (the table is in docs/reference/exit-codes.md).
"""

from __future__ import annotations

from typing import ClassVar


class MutxInfraError(Exception):
    """Base of every failure shown to an operator.

    Args:
        message: what happened, in one sentence, without a secret.
        code: stable kebab-case identifier, e.g. `spec-cidr-overlap`.
        remedy: what the operator does next; may name a command.
        detail: what is needed to find the place, e.g. `in tenants/acme.yaml, line 7`.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str, remedy: str, detail: str = "") -> None:
        super().__init__(message)
        self.message, self.code, self.remedy, self.detail = message, code, remedy, detail


class UsageError(MutxInfraError):
    """The command line does not make sense as written."""

    exit_status = 2


class SpecError(MutxInfraError):
    """The tenant spec cannot be provisioned as written."""

    exit_status = 3


class SettingsError(MutxInfraError):
    """An environment profile, option or variable is missing or invalid."""

    exit_status = 3


class RefusedError(MutxInfraError):
    """A precondition, lock or confirmation stands in the way; nothing was done."""

    exit_status = 4


class LockedError(RefusedError):
    """Another process works on the tenant; the message names its owner, host and pid."""


class OutsideError(MutxInfraError):
    """A system outside the toolkit failed; a retry may help."""

    exit_status = 5


class VerificationError(MutxInfraError):
    """The observed world differs from the plan; the answer is no."""

    exit_status = 6


CHANGES_PENDING = 10
"""Exit status of a preview or status that found changes or drift. Not an error."""

INTERRUPTED = 130
"""Exit status after Ctrl-C."""
