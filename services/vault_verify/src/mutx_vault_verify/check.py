"""One thing that was looked at, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What came of a check. Where it is not `ok`, `accepted` or `unseen`, the Vault is not as the release says.

    `unseen` is what the server shows nobody: it was not looked at.
    """

    OK = "ok"
    ACCEPTED = "accepted"
    DIFFERS = "differs"
    EXTRA = "extra"
    MISSING = "missing"
    UNKNOWN = "unknown"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: kind and name of the thing, e.g. `policy agent`; stable, so that it can be accepted by name.
        detail: for people.
    """

    name: str
    status: Status
    detail: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the Vault may be as it is."""
        return self.status in (Status.OK, Status.ACCEPTED, Status.UNSEEN)


def ok(name: str, detail: str = "") -> Check:
    """Return a check that found what it should."""
    return Check(name, Status.OK, detail)


def extra(name: str, detail: str = "") -> Check:
    """Return a check that found what should not be there."""
    return Check(name, Status.EXTRA, detail or "the release has none of that name")


def missing(name: str, detail: str = "") -> Check:
    """Return a check that did not find what should be there."""
    return Check(name, Status.MISSING, detail or "it is not there")


def unknown(name: str, detail: str) -> Check:
    """Return a check that found nothing out."""
    return Check(name, Status.UNKNOWN, detail)


def unseen(name: str, detail: str) -> Check:
    """Return what could not be looked at, because the server shows it nobody."""
    return Check(name, Status.UNSEEN, detail)


def judged(name: str, found: Iterable[str], detail: str = "") -> Check:
    """Return `differs` with the differences, or `ok` where there are none."""
    said = list(found)
    return Check(name, Status.DIFFERS, "; ".join(said)) if said else ok(name, detail)
