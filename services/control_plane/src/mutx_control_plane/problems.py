"""What a caller of the control plane can be told: one JSON shape (RFC 9457), stable codes.

Another tenant's object is `not-found`, as one that never was.
"""

from __future__ import annotations

from types import MappingProxyType

from mutx_service.problem import AGENT_KINDS, COMMON_KINDS, Kinds, ProblemKind

KINDS: Kinds = MappingProxyType(
    {
        **COMMON_KINDS,
        **AGENT_KINDS,
        "cursor-invalid": ProblemKind(400, "The cursor is not one that this list gave"),
        "credentials-missing": ProblemKind(401, "The request shows no credentials"),
        "credentials-refused": ProblemKind(401, "The credentials are not valid"),
        "session-ended": ProblemKind(401, "The session has ended; sign in again"),
        "sign-in-failed": ProblemKind(401, "The sign-in failed"),
        "role-missing": ProblemKind(403, "The caller's roles do not allow this"),
        "scope-missing": ProblemKind(403, "The API key's scopes do not allow this"),
        "own-approval": ProblemKind(403, "Nobody decides an approval that they asked for"),
        "origin-refused": ProblemKind(403, "The request comes from a page of another origin"),
        "approval-decided": ProblemKind(409, "The approval was decided before"),
        "approval-expired": ProblemKind(409, "The approval has expired"),
        "name-taken": ProblemKind(409, "There is one of that name already"),
        "version-stale": ProblemKind(412, "It was changed since it was read"),
        "rate-limited": ProblemKind(429, "Too many attempts", 60),
        "provider-unavailable": ProblemKind(503, "The identity provider cannot be reached", 5),
        "store-unavailable": ProblemKind(503, "The database cannot be reached", 1),
        "secrets-unavailable": ProblemKind(503, "The store of secrets cannot be reached", 1),
    }
)
