"""Roles of people and scopes of API keys, and what satisfies what.

A role holds within one tenant. That an object is the caller's own tenant's is another question, which no role answers.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class Role(StrEnum):
    """What a person may do in their tenant (AUTH-5)."""

    ADMIN = "ADMIN"
    """Satisfies every check."""
    AUDIT_ADMIN = "AUDIT_ADMIN"
    """Reads audit logs and traces of the whole tenant, and changes nothing."""
    DEVELOPER = "DEVELOPER"
    """Reads and writes agents, decides approvals."""
    VIEWER = "VIEWER"
    """Lists agents, and reads the configuration of those they own."""


class Scope(StrEnum):
    """What an API key may do, within what its user may (AUTH-6). Each holds the ones before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


APPROVER_ROLES = frozenset({Role.DEVELOPER, Role.ADMIN})
"""Who may decide an approval that they did not ask for."""

_RANK = {Scope.READ: 0, Scope.WRITE: 1, Scope.ADMIN: 2}


def satisfies_role(held: Collection[Role], allowed: Collection[Role]) -> bool:
    """Say whether one of the roles held is allowed; ADMIN is, always, and nobody's is never."""
    return Role.ADMIN in held or not frozenset(held).isdisjoint(allowed)


def satisfies_scope(held: Collection[Scope], wanted: Scope) -> bool:
    """Say whether one of the scopes held reaches as far as what is wanted."""
    return any(_RANK[scope] >= _RANK[wanted] for scope in held)
