"""What was looked at, what was seen, and what that says: the records that an auditor reads (PRIN-4, AUDIT-4).

A bundle suffices for a stranger: control, target, observation, verdict, tool versions, times, digests of what was
asked for. It is written once and named by its digest. Nothing in it is a secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from mutx_infra.canonical import canonical_json

FORMAT: Literal["mutx-evidence/1"] = "mutx-evidence/1"
LONGEST_TEXT = 2000
"""Characters kept of an observation; the rest says nothing that the beginning does not."""

ControlId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*-[0-9]{2}$", examples=["ssh-01"])]


class Verdict(StrEnum):
    """What a check says. Only `pass` is a pass: what could not be looked at is `unknown`."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    WAIVED = "waived"
    """It fails, and a waiver that is in force says why that is borne."""
    UNKNOWN = "unknown"
    """It could not be looked at."""
    NOT_APPLICABLE = "not-applicable"
    """The target has nothing that the control is about."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Control(_Value):
    """One row of the table of controls.

    Attributes:
        requirements: ids of docs and README's traceability, as `HOST-1`.
        references: ids in published baselines, by baseline: `cis` (CIS Debian 12), `anssi` (BP-028), `soc2`.
        remedy: what mends it.
    """

    id: ControlId
    title: str
    requirements: tuple[str, ...]
    references: dict[str, str] = Field(default_factory=dict)
    remedy: str


class Waiver(_Value):
    """A control that is known to fail, and why that is borne.

    Attributes:
        target: host name or role that it is for; None for every one.
        owner: who answers for it.
        expires: the last day on which it holds.
    """

    control: ControlId
    target: str | None = None
    reason: Annotated[str, Field(min_length=10)]
    owner: Annotated[str, Field(min_length=2)]
    expires: date


class Check(_Value):
    """One control, looked at on one target.

    Attributes:
        target: the host's name; of checks without a host, the tenant's id.
        reason: why the verdict is not simply pass or fail.
        started_at: UTC; so is `ended_at`.
    """

    control: ControlId
    title: str
    target: str
    verdict: Verdict
    seen: str
    wanted: str
    remedy: str
    reason: str = ""
    requirements: tuple[str, ...] = ()
    references: dict[str, str] = Field(default_factory=dict)
    started_at: AwareDatetime
    ended_at: AwareDatetime

    @model_validator(mode="after")
    def _time_runs_forward(self) -> Check:
        if self.ended_at < self.started_at:
            raise ValueError(f"{self.control} on {self.target} ended before it started")
        return self

    def __str__(self) -> str:
        return f"{self.control} on {self.target}: {self.title}: seen {self.seen!r}, wanted {self.wanted!r}"


class Subject(_Value):
    """What was looked at, and by which way.

    Attributes:
        endpoints: where each outside system was reached, by name.
        is_production: False where an endpoint is on loopback or speaks plain HTTP; such evidence proves nothing
            about production.
        plan_digest: of the plan that was in force, None where the checks ran against a bare inventory.
    """

    tenant: str
    environment: str | None = None
    endpoints: dict[str, str] = Field(default_factory=dict)
    is_production: bool
    plan_digest: str | None = None


class Bundle(_Value):
    """All checks of one run."""

    format: Literal["mutx-evidence/1"] = FORMAT
    subject: Subject
    tools: dict[str, str]
    started_at: AwareDatetime
    ended_at: AwareDatetime
    checks: tuple[Check, ...]

    @property
    def digest(self) -> str:
        """`sha256:` and the SHA-256 of the bundle's canonical JSON."""
        return f"sha256:{sha256(self.content).hexdigest()}"

    @property
    def content(self) -> bytes:
        """The bundle's canonical JSON: what is written and hashed."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def failures(self) -> tuple[Check, ...]:
        """What keeps the answer from being yes: checks that failed, and those that could not be made."""
        return tuple(c for c in self.checks if c.verdict in {Verdict.FAIL, Verdict.UNKNOWN})

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many checks there are of each verdict."""
        counted = Counter(check.verdict for check in self.checks)
        return {verdict: counted[verdict] for verdict in Verdict if counted[verdict]}


def judge(
    control: Control,
    target: str,
    *,
    seen: object,
    wanted: object,
    is_met: bool | None,
    started_at: datetime,
    ended_at: datetime,
    reason: str = "",
) -> Check:
    """Return the record of one look.

    Args:
        control: what was looked at.
        target: where.
        seen: the observation; cut to `LONGEST_TEXT`.
        wanted: what it should have been.
        is_met: None where it could not be told.
        started_at: when the look began, aware.
        ended_at: when it ended, aware.
        reason: why it could not be told.
    """
    verdict = Verdict.UNKNOWN if is_met is None else Verdict.PASS if is_met else Verdict.FAIL
    return Check(
        control=control.id,
        title=control.title,
        target=target,
        verdict=verdict,
        seen=_text(seen),
        wanted=_text(wanted),
        remedy=control.remedy,
        reason=reason,
        requirements=control.requirements,
        references=control.references,
        started_at=started_at,
        ended_at=ended_at,
    )


def with_waivers(
    checks: Iterable[Check], waivers: Iterable[Waiver], roles: Mapping[str, str], today: date
) -> tuple[Check, ...]:
    """Return the checks with failures waived where a waiver is in force; an expired one is named in the reason.

    Args:
        checks: as they were made.
        waivers: all that are known.
        roles: role by target, so that a waiver may be for a role.
        today: the day that expiry is compared with.
    """
    known = tuple(waivers)
    return tuple(_waived(check, known, roles.get(check.target), today) for check in checks)


def _waived(check: Check, waivers: tuple[Waiver, ...], role: str | None, today: date) -> Check:
    if check.verdict is not Verdict.FAIL:
        return check
    fitting = [
        waiver
        for waiver in waivers
        if waiver.control == check.control and waiver.target in {None, check.target, role}
    ]
    in_force = next((waiver for waiver in fitting if waiver.expires >= today), None)
    if in_force is not None:
        reason = f"waived until {in_force.expires} by {in_force.owner}: {in_force.reason}"
        return check.model_copy(update={"verdict": Verdict.WAIVED, "reason": reason})
    if fitting:
        last = max(fitting, key=lambda waiver: waiver.expires)
        reason = f"the waiver of {last.owner} expired on {last.expires}"
        return check.model_copy(update={"reason": reason})
    return check


def _text(value: object) -> str:
    text = str(value)
    if isinstance(value, (list, tuple)):
        text = ", ".join(map(str, value)) or "none"
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text)} characters)"
