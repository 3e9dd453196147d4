"""The one check of roles and scopes, beneath every route."""

from __future__ import annotations

from collections.abc import Collection

from mutx_service.problem import Problem

from mutx_control_plane.principal import Principal
from mutx_control_plane.roles import Role, Scope, satisfies_role, satisfies_scope


def check_role(principal: Principal, allowed: Collection[Role]) -> None:
    """Let a caller on who holds one of the roles, or ADMIN.

    Raises:
        Problem: `role-missing`; which roles would do is told, which the caller has is not.
    """
    if not satisfies_role(principal.roles, allowed):
        wanted = ", ".join(sorted({*allowed, Role.ADMIN}))
        raise Problem("role-missing", f"this needs one of the roles {wanted}")


def check_scope(principal: Principal, wanted: Scope) -> None:
    """Let a caller on whose API key reaches far enough; a token always does.

    Raises:
        Problem: `scope-missing`.
    """
    if not satisfies_scope(principal.scopes, wanted):
        raise Problem("scope-missing", f"this needs an API key with the scope {wanted}")
