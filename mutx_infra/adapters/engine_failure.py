"""What the engine's refusal means for the operator: locked, a broken rule, data in the way, or AWS at fault."""

from __future__ import annotations

import re

from pulumi import automation as auto

from mutx_infra.adapters.pulumi_events import EventCollector, plain
from mutx_infra.adapters.pulumi_recovery import parse_lock
from mutx_infra.errors import LockedError, MutxInfraError, OutsideError, RefusedError, VerificationError

_PROTECTED = re.compile(r"unable to (?:replace|delete) resource \"[^\"]*::([^:\"]+)\"")


def failure_of(tenant: str, collector: EventCollector, exc: auto.CommandError) -> MutxInfraError:
    """Return our error for an engine command that failed.

    Args:
        tenant: whose stack it was.
        collector: heard what the engine reported while it ran.
        exc: what it said in the end.
    """
    if lock := parse_lock(str(exc)):
        return LockedError(
            f"the state of {tenant} is locked by {lock}",
            code="stack-locked",
            remedy=f"wait for it to end; if it is dead, run `mutx-infra tenant unlock {tenant}`",
        )
    if collector.violations:
        return VerificationError(
            f"the program of {tenant} breaks {len(collector.violations)} rule(s) of the policy pack",
            code="policy-violated",
            remedy="change the program; a rule is changed by a decision, not to let a program pass",
            detail="\n".join(collector.violations[:20]),
        )
    if protected := sorted(set(_PROTECTED.findall("\n".join([*collector.errors, str(exc)])))):
        return RefusedError(
            f"the plan of {tenant} would replace what holds data: {', '.join(protected)}",
            code="data-protected",
            remedy="back it up, then name it: "
            + " ".join(f"`--replace {name}`" for name in protected)
            + "; or take the change back",
        )
    errors = (
        collector.errors or [line for line in str(exc).splitlines() if "error" in line.lower()] or [str(exc)]
    )
    return OutsideError(
        f"the stack of {tenant} could not be brought up to its plan: {plain(errors[0])[:600]}",
        code="stack-failed",
        remedy=f"what was made is recorded; mend the cause and run `mutx-infra tenant resume {tenant}`",
        detail="\n".join(f"also: {plain(error)[:300]}" for error in errors[1:5]),
    )
