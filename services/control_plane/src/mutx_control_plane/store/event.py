"""What an audit record says: who did what to which object, with what outcome, seen from where."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from mutx_control_plane.store.canonical import canonical_json

Scalar = str | int | bool | None
NOTHING: Mapping[str, Scalar] = MappingProxyType({})
FIRST_PREV = bytes(32)
"""What stands before a chain's first record."""


class Retention(StrEnum):
    """How long a record is kept (AUDIT-1)."""

    ACCESS = "access"
    """A year: sign-ins, sessions, API keys, and whatever changes who may do what."""
    WORK = "work"
    """Ninety days: agents and their runs."""


KEPT_DAYS = MappingProxyType({Retention.ACCESS: 365, Retention.WORK: 90})
_WORK = ("agent.", "run.")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a change comes from.

    Attributes:
        actor: `user:ID`, `key:ID`, `service:NAME`, or `anonymous` for who has not been proven yet.
        address: the caller's, as the connection has it.
        trace_id: of the request, as W3C has it; empty where there is none.
    """

    actor: str
    address: str = ""
    trace_id: str = ""


def user(account: UUID) -> str:
    """Return how a person is named as an actor."""
    return f"user:{account}"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, before it has its place in the chain.

    Attributes:
        action: `kind.verb`, the verb in the past: `agent.paused`.
        object: `kind:ID` of what it happened to.
        detail: a few values; no text of a run, no secret.
    """

    action: str
    object: str
    outcome: str = "done"
    detail: Mapping[str, Scalar] = field(default_factory=lambda: NOTHING)

    @property
    def retention(self) -> Retention:
        """How long it is kept."""
        return Retention.WORK if self.action.startswith(_WORK) else Retention.ACCESS


@dataclass(frozen=True, slots=True)
class Record:
    """An event at its place in a tenant's chain.

    Attributes:
        sequence: 1 for the tenant's first, without gaps.
        at: by the database's clock, to the microsecond, never before the record before it.
    """

    tenant: str
    sequence: int
    at: datetime
    origin: Origin
    event: Event

    def digest(self) -> bytes:
        """Return SHA-256 of the record's canonical JSON."""
        return hashlib.sha256(canonical_json(self.document())).digest()

    def document(self) -> dict[str, object]:
        """Return what is hashed and exported."""
        return {
            "version": 1,
            "tenant": self.tenant,
            "sequence": self.sequence,
            "at": self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "actor": self.origin.actor,
            "address": self.origin.address,
            "trace_id": self.origin.trace_id,
            "action": self.event.action,
            "object": self.event.object,
            "outcome": self.event.outcome,
            "detail": dict(self.event.detail),
        }


def link_hash(prev: bytes, digest: bytes) -> bytes:
    """Return the hash of a link: what the next one names as its `prev`."""
    return hashlib.sha256(prev + digest).digest()
