"""Versions of each tenant's guardrail policy. A version is never changed; its digest names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from mutx_service.problem import Problem

from mutx_control_plane.store.canonical import canonical_json
from mutx_control_plane.store.paging import Ask, Page, counted_page
from mutx_control_plane.store.refusals import refusing
from mutx_control_plane.store.schema import guard_policies
from mutx_control_plane.store.transaction import Transaction

_CURSOR = "g"
_REFUSALS = {
    "guard_policies_pkey": ("version-stale", "somebody else made the next version"),
    "guard_policies_created_by_fkey": ("request-invalid", "who made it is no account of the tenant"),
}


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A version of a policy.

    Attributes:
        version: 1 for the tenant's first, without gaps.
        document: canonical JSON (RFC 8785).
        digest: SHA-256 of the document, in hexadecimal.
    """

    tenant: str
    version: int
    document: str
    digest: str
    created_by: UUID
    created: datetime

    def content(self) -> dict[str, Any]:  # Any: the guardrail's own JSON
        """Return the document's value."""
        found: dict[str, Any] = json.loads(self.document)
        return found


def put(
    change: Transaction, content: Mapping[str, object], created_by: UUID, based_on: int, now: datetime
) -> PolicyVersion:
    """Keep the version after `based_on`, which is 0 for none.

    Raises:
        Problem: `version-stale`, the newest is not `based_on`; `request-invalid`, JSON has no such values.
    """
    try:
        document = canonical_json(content)
    except (TypeError, ValueError) as exc:
        raise Problem("request-invalid", str(exc)) from exc
    newest = current(change.connection)
    if (0 if newest is None else newest.version) != based_on:
        raise Problem("version-stale")
    digest = hashlib.sha256(document).hexdigest()
    made = guard_policies.insert().values(
        tenant=change.tenant, version=based_on + 1, document=document.decode(), digest=digest, created_by=created_by,
        created_at=now,
    )  # fmt: skip
    with refusing(_REFUSALS):
        change.change(made)
    change.record("policy.put", f"policy:{based_on + 1}", {"digest": digest})
    return PolicyVersion(change.tenant, based_on + 1, document.decode(), digest, created_by, now)


def current(connection: sa.Connection) -> PolicyVersion | None:
    """Return the tenant's newest version, or None."""
    query = sa.select(guard_policies).order_by(guard_policies.c.version.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _version(row)


def get(connection: sa.Connection, version: int) -> PolicyVersion:
    """Return one version.

    Raises:
        Problem: `not-found`.
    """
    row = connection.execute(
        sa.select(guard_policies).where(guard_policies.c.version == version)
    ).one_or_none()
    if row is None:
        raise Problem("not-found")
    return _version(row)


def page(connection: sa.Connection, ask: Ask) -> Page[PolicyVersion]:
    """Return versions, the newest first."""
    return counted_page(
        connection, sa.select(guard_policies), guard_policies.c.version, ask, _CURSOR, _version
    )


def _version(row: sa.Row[Any]) -> PolicyVersion:
    return PolicyVersion(row.tenant, row.version, row.document, row.digest, row.created_by, row.created_at)
