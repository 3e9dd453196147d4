"""What the engine's refusal means for the operator: locked, a broken rule, data in the way, or AWS at fault."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pulumi import automation as auto

from mutx_infra.adapters.pulumi_events import EventCollector, plain
from mutx_infra.adapters.pulumi_recovery import parse_lock
from mutx_infra.errors import LockedError, MutxInfraError, OutsideError, RefusedError, VerificationError
from mutx_infra.naming import stack_name

_PROTECTED = re.compile(r"unable to (?:replace|delete) resource \"[^\"]*::([^:\"]+)\"")


@dataclass(frozen=True, slots=True)
class Stake:
    """Whose stack an operation works on, and what an operator types about it.

    Attributes:
        whose: a tenant's id, or `platform`.
        stack: the stack's name.
        resume: the command that goes on after a failure.
        unlock: the command that removes a dead one's lock.
    """

    whose: str
    stack: str
    resume: str
    unlock: str


def stake_of(tenant: str) -> Stake:
    """Return what there is to say about a tenant's stack, or the platform's."""
    return Stake(
        tenant,
        stack_name(tenant),
        f"mutx-infra tenant resume {tenant}",
        f"mutx-infra tenant unlock {tenant}",
    )


def failure_of(stake: Stake, collector: EventCollector, exc: auto.CommandError) -> MutxInfraError:
    """Return our error for an engine command that failed.

    Args:
        stake: whose stack it was.
        collector: heard what the engine reported while it ran.
        exc: what it said in the end.
    """
    if lock := parse_lock(str(exc)):
        return LockedError(
            f"the state of {stake.whose} is locked by {lock}",
            code="stack-locked",
            remedy=f"wait for it to end; if it is dead, run `{stake.unlock}`",
        )
    if collector.violations:
        return VerificationError(
            f"the program of {stake.whose} breaks {len(collector.violations)} rule(s) of the policy pack",
            code="policy-violated",
            remedy="change the program; a rule is changed by a decision, not to let a program pass",
            detail="\n".join(collector.violations[:20]),
        )
    if protected := sorted(set(_PROTECTED.findall("\n".join([*collector.errors, str(exc)])))):
        return RefusedError(
            f"the plan of {stake.whose} would replace what holds data: {', '.join(protected)}",
            code="data-protected",
            remedy="back it up, then name it: "
            + " ".join(f"`--replace {name}`" for name in protected)
            + "; or take the change back",
        )
    errors = (
        collector.errors or [line for line in str(exc).splitlines() if "error" in line.lower()] or [str(exc)]
    )
    return OutsideError(
        f"the stack of {stake.whose} could not be brought up to its plan: {plain(errors[0])[:600]}",
        code="stack-failed",
        remedy=f"what was made is recorded; mend the cause and run `{stake.resume}`",
        detail="\n".join(f"also: {plain(error)[:300]}" for error in errors[1:5]),
    )
