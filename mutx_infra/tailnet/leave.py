"""Just-in-time access: leave for an operator to enter one tenant's hosts, which ends by itself.

A leave is an attribute of the person's devices that Tailscale takes away when its time is up; the policy asks for it
(`operator_access: by-leave`): nothing of ours has to run for it to end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from mutx_infra.environment_tailnet import OperatorAccess, Tailnet
from mutx_infra.errors import RefusedError, UsageError, VerificationError
from mutx_infra.naming import leave_attribute
from mutx_infra.ports import Clock, Journal, Registry, Reporter
from mutx_infra.records import Owner, RunKind
from mutx_infra.runs import closing, journaled_step
from mutx_infra.tailnet.plan import TAILNET_ID
from mutx_infra.tailnet_ports import DeviceAttributes, Leave
from mutx_infra.tenant import PLATFORM_ID

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(hours=12)
_PERIOD = re.compile(r"(?:(\d{1,3})h)?(?:(\d{1,4})m)?")
_SHORTEST_REASON = 8
_LONGEST_REASON = 150
_PREFIX = leave_attribute("")
_TOLERANCE = timedelta(seconds=2)
"""Tailscale keeps whole seconds."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A leave that somebody has: for whose hosts, and on which device until when."""

    tenant: str
    leave: Leave


class LeaveDesk:
    """Gives leave, takes it back, and says who has some."""

    def __init__(
        self, tailnet: Tailnet, registry: Registry, attributes: DeviceAttributes, journal: Journal, clock: Clock,
        owner: Owner,
    ) -> None:  # fmt: skip
        self._tailnet, self._registry, self._attributes = tailnet, registry, attributes
        self._journal, self._clock, self._owner = journal, clock, owner

    def give(
        self, login: str, tenant: str, period: timedelta, reason: str, report: Reporter
    ) -> tuple[Leave, ...]:
        """Give an operator leave for a while, on every device that the person has now.

        Args:
            login: of one of the profile's operators.
            tenant: whose hosts; or `platform`.
            period: from now.
            reason: why; it is journaled, and Tailscale's configuration log has it.
            report: told of the step.

        Raises:
            RefusedError: not an operator's (code `leave-not-operator`), no such tenant, no need of a leave
                (`leave-not-needed`), or no device (`leave-no-device`).
            UsageError: no reason to speak of, or a period out of range (`leave-invalid`).
            VerificationError: a device does not have what was given (`leave-not-given`).
        """
        self._require_sense(login, tenant, period, reason)
        until = (self._clock.now() + period).replace(microsecond=0)
        run = self._journal.begin(TAILNET_ID, RunKind.ACCESS, "", self._owner)
        title = f"give {login} leave for {tenant}"
        with closing(self._journal, run), journaled_step(self._journal, run, "leave", title, report) as done:
            given = self._attributes.give(
                login, leave_attribute(tenant), until, f"{reason} ({self._owner.user})"
            )
            if not given:
                raise RefusedError(
                    f"{login} has no device in the tailnet",
                    code="leave-no-device",
                    remedy="log a device in as that person, then run the same command again",
                )
            for leave in given:
                if leave.until is None or abs(leave.until - until) > _TOLERANCE:
                    raise VerificationError(
                        f"{leave.name} of {login} has leave until {leave.until}, not until {until.isoformat()}",
                        code="leave-not-given",
                        remedy=f"take it back: `mutx-infra tailnet revoke {login} {tenant}`",
                    )
            names = ", ".join(leave.name for leave in given)
            done.append(f"{login} may enter {tenant} until {until.isoformat()} from {names}: {reason}")
        return given

    def take(self, login: str, tenant: str, report: Reporter) -> int:
        """Take a leave back at once; returns from how many devices. None is no error."""
        run = self._journal.begin(TAILNET_ID, RunKind.ACCESS, "", self._owner)
        title = f"take {login}'s leave for {tenant} back"
        with closing(self._journal, run), journaled_step(self._journal, run, "leave", title, report) as done:
            taken = self._attributes.take(login, leave_attribute(tenant))
            done.append(f"{login} has no leave for {tenant} any more ({taken} devices had)")
        return taken

    def current(self) -> tuple[Granted, ...]:
        """Return who has leave now, by tenant and login; `tenant` is the attribute where no tenant is called so."""
        known = {leave_attribute(record.spec.id): record.spec.id for record in self._registry.tenants()}
        known[leave_attribute(PLATFORM_ID)] = PLATFORM_ID
        found = [
            Granted(known.get(leave.attribute, leave.attribute), leave)
            for leave in self._attributes.held(_PREFIX)
        ]
        return tuple(sorted(found, key=lambda each: (each.tenant, each.leave.login, each.leave.name)))

    def _require_sense(self, login: str, tenant: str, period: timedelta, reason: str) -> None:
        if self._tailnet.operator_access is not OperatorAccess.BY_LEAVE:
            raise RefusedError(
                "operators have standing access in this environment, so that leave changes nothing",
                code="leave-not-needed",
                remedy="set `tailnet.operator_access: by-leave` in the profile, then run `mutx-infra tailnet apply`",
            )
        if login not in self._tailnet.operators:
            raise RefusedError(
                f"{login} is no operator of this environment",
                code="leave-not-operator",
                remedy="`tailnet.operators` in the profile has those who are",
            )
        if tenant != PLATFORM_ID and self._registry.tenant(tenant) is None:
            raise RefusedError(
                f"there is no tenant {tenant}",
                code="tenant-unknown",
                remedy="`mutx-infra tenant list` shows the tenants",
            )
        if not SHORTEST <= period <= LONGEST:
            raise UsageError(
                "a leave lasts from a minute to twelve hours", code="leave-invalid", remedy="e.g. --for 2h"
            )
        if not _SHORTEST_REASON <= len(reason.strip()) <= _LONGEST_REASON or not reason.isprintable():
            raise UsageError(
                f"a reason has {_SHORTEST_REASON} to {_LONGEST_REASON} characters",
                code="leave-invalid",
                remedy="say what is to be done, e.g. --reason 'INC-42: agent does not start'",
            )


def parse_period(text: str) -> timedelta:
    """Read a period as it is typed: `2h`, `90m`, `1h30m`.

    Raises:
        UsageError: it is none (code `leave-invalid`).
    """
    found = _PERIOD.fullmatch(text)
    if found is None or not any(found.groups()):
        raise UsageError(
            f"{text!r} is no period", code="leave-invalid", remedy="write it as 2h, 90m or 1h30m"
        )
    hours, minutes = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes)
