"""Roles and scopes: who satisfies what, and what a refused caller is told."""

from __future__ import annotations

from uuid import UUID

import pytest
from mutx_control_plane.access import check_role, check_scope
from mutx_control_plane.principal import Method, Principal
from mutx_control_plane.roles import APPROVER_ROLES, Role, Scope
from mutx_service.problem import Problem

ANN = UUID(int=1)


def caller(*roles: Role, scopes: frozenset[Scope] = frozenset({Scope.ADMIN})) -> Principal:
    return Principal(ANN, "acme", frozenset(roles), Method.ACCESS_TOKEN, scopes)


@pytest.mark.parametrize("allowed", [[], [Role.VIEWER], [Role.AUDIT_ADMIN], sorted(APPROVER_ROLES)], ids=str)
def test_admin_satisfies_every_check(allowed: list[Role]) -> None:
    check_role(caller(Role.ADMIN), allowed)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_a_role_satisfies_itself_and_no_other(role: Role) -> None:
    others = [other for other in Role if other not in {role, Role.ADMIN}]

    check_role(caller(role), [role])
    with pytest.raises(Problem) as refused:
        check_role(caller(role), others)

    assert refused.value.code == "role-missing"
    assert "this needs one of the roles" in refused.value.detail


def test_no_role_satisfies_nothing() -> None:
    with pytest.raises(Problem, match="role-missing"):
        check_role(caller(), list(Role))


def test_developers_and_admins_decide_approvals_and_auditors_and_viewers_do_not() -> None:
    assert {Role.DEVELOPER, Role.ADMIN} == APPROVER_ROLES


@pytest.mark.parametrize(
    ("held", "wanted", "is_enough"),
    [
        (Scope.READ, Scope.READ, True),
        (Scope.READ, Scope.WRITE, False),
        (Scope.WRITE, Scope.READ, True),
        (Scope.WRITE, Scope.ADMIN, False),
        (Scope.ADMIN, Scope.WRITE, True),
    ],
)
def test_a_scope_holds_the_ones_below_it(held: Scope, wanted: Scope, is_enough: bool) -> None:
    asked = caller(Role.ADMIN, scopes=frozenset({held}))

    if is_enough:
        check_scope(asked, wanted)
    else:
        with pytest.raises(Problem, match="scope-missing"):
            check_scope(asked, wanted)


def test_a_key_without_scopes_may_nothing() -> None:
    with pytest.raises(Problem, match="scope-missing"):
        check_scope(caller(Role.ADMIN, scopes=frozenset()), Scope.READ)
