"""Roles of claims: by the map, where it says, and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutx_control_plane.identity.claims import CLAIMS, Rule, read_email, read_user
from mutx_control_plane.identity.jose import TokenRefused
from mutx_control_plane.roles import Role
from token_mint import ISSUER, good_claims

KEYCLOAK = {
    "realm_access": {"roles": ["offline_access", "uma_authorization", "agents-dev"]},
    "resource_access": {
        "mutx": {"roles": ["operators"]},
        "account": {"roles": ["manage-account", "view-profile"]},
    },
}


def rule(claim: str, value: str, role: Role = Role.DEVELOPER, tenant: str = "acme") -> Rule:
    return Rule(claim, value, tenant, role)


def roles(rules: list[Rule], **claims) -> frozenset[Role]:
    return read_user(good_claims(**claims), rules).roles


def refusal(rules: list[Rule], **claims) -> str:
    with pytest.raises(TokenRefused) as refused:
        read_user(good_claims(**claims), rules)
    return refused.value.reason


MAPPED = {
    "Auth0's or Okta's roles": ("roles", "dev", {"roles": ["dev", "other"]}),
    "one role as a text": ("roles", "dev", {"roles": "dev"}),
    "Okta's groups": ("groups", "Everyone", {"groups": ["Everyone", "mutx"]}),
    "Keycloak's realm": ("realm_access.roles", "agents-dev", KEYCLOAK),
    "a list beside the clients": ("resource_access.roles", "dev", {"resource_access": {"roles": ["dev"]}}),
    "any client": ("resource_access.*.roles", "operators", KEYCLOAK),
    "one client": ("resource_access.mutx.roles", "operators", KEYCLOAK),
    "one client with dots": (
        "resource_access.my.app.roles", "dev", {"resource_access": {"my.app": {"roles": ["dev"]}}},
    ),
    "Google's domain": ("hd", "acme.example", {"hd": "acme.example"}),
    "a verified address": ("email", "ann@acme.example", {"email": "Ann@Acme.example", "email_verified": True}),
}  # fmt: skip


@pytest.mark.parametrize(("claim", "value", "claims"), MAPPED.values(), ids=MAPPED.keys())
def test_a_role_comes_by_the_map_of(claim, value, claims):
    user = read_user(good_claims(**claims), [rule(claim, value)])

    assert user.roles == {Role.DEVELOPER}
    assert user.tenant == "acme"
    assert (user.issuer, user.subject) == (ISSUER, "user-1")


UNMAPPED = {
    "a role called ADMIN": {"roles": ["ADMIN"]},
    "a group called admin": {"groups": ["admin", "administrators", "Admin"]},
    "the realm's admin": {"realm_access": {"roles": ["admin", "realm-admin"]}},
    "the admin of a client": {"resource_access": {"realm-management": {"roles": ["realm-admin"]}}},
    "our own claims": {"tenant": "acme", "role": "ADMIN", "is_admin": True},
    "a scope": {"scope": "admin write read"},
    "Google's domain": {"hd": "acme.example"},
    "the mapped value in another claim": {"groups": ["dev"]},
    "the mapped value in capitals": {"roles": ["DEV"]},
    "the mapped value with a space": {"roles": ["dev ", " dev"]},
    "the mapped value within another": {"roles": ["developers", "dev,x"]},
    "the mapped value as one of a text": {"roles": "dev other"},
    "the mapped value as a name": {"roles": {"dev": True}},
    "the mapped value beside a number": {"roles": ["dev", 1]},
    "the mapped value in a list within": {"roles": [["dev"]]},
    "a number": {"roles": 1},
    "null": {"roles": [None]},
    "a claim with a dot in its name": {"realm_access.roles": ["dev"]},
}


@pytest.mark.parametrize("claims", UNMAPPED.values(), ids=UNMAPPED.keys())
def test_nothing_is_granted_by(claims):
    assert refusal([rule("roles", "dev"), rule("realm_access.roles", "dev")], **claims) == "unmapped"


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize(
    "wrong",
    [None, True, 7, 1.5, {}, [], "x", {"roles": "dev"}, {"roles": {"dev": 1}}, {"mutx": "dev"}, {"mutx": ["dev"]},
     {"mutx": {"roles": [{"dev": "dev"}]}}],
    ids=repr,
)  # fmt: skip
def test_a_claim_of_a_wrong_type_says_nothing(claim, wrong):
    claims = dict.fromkeys({"roles", "groups", "realm_access", "hd", "email"}, wrong)
    taken = rule(claim, "nobody")

    assert refusal([taken], **claims, resource_access=wrong, email_verified=wrong) == "unmapped"


def test_without_a_map_nobody_is_anybody():
    assert refusal([], **KEYCLOAK, roles=["admin"], groups=["admin"]) == "unmapped"


def test_a_rule_for_one_client_is_not_met_by_another():
    taken = rule("resource_access.mutx.roles", "manage-account", Role.ADMIN)

    assert refusal([taken], **KEYCLOAK) == "unmapped"


def test_several_rules_grant_several_roles_in_one_tenant():
    rules = [
        rule("groups", "devs"),
        rule("roles", "auditor", Role.AUDIT_ADMIN),
        rule("groups", "chiefs", Role.ADMIN),
    ]

    assert roles(rules, groups=["devs"], roles=["auditor"]) == {Role.DEVELOPER, Role.AUDIT_ADMIN}


def test_rules_of_two_tenants_at_once_place_nobody():
    rules = [rule("groups", "a", tenant="acme"), rule("groups", "g", Role.ADMIN, tenant="globex")]

    assert refusal(rules, groups=["a", "g"]) == "many-tenants"


def test_the_tenant_comes_of_the_map_though_the_token_names_another():
    user = read_user(good_claims(groups=["a"], tenant="globex", tid="globex"), [rule("groups", "a")])

    assert user.tenant == "acme"


@pytest.mark.parametrize(
    ("verified", "told"),
    [(True, "ann@acme.example"), (False, ""), (None, ""), ("true", ""), (1, ""), ([True], "")],
    ids=repr,
)
def test_an_address_counts_only_where_the_provider_verified_it(verified, told):
    assert read_email(good_claims(email="Ann@acme.example", email_verified=verified)) == told


@pytest.mark.parametrize(
    "email", ["", "ann", "@a.b", "a@", "a@b@c", "a b@c.d", "a@b.c\0", "a@b.c\n", "stra\u00dfe@b.c",
     "\u212aelvin@b.c", "a@b\u0430.c", "a" * 65 + "@b.c", 7, ["a@b.c"]],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_address_is_none(email):
    assert read_email({"email": email, "email_verified": True}) == ""


@pytest.mark.parametrize(
    "claim", ["", "role", "Roles", "resource_access", "realm_access", "sub", "tenant", "scope"]
)
def test_a_rule_about_a_claim_that_is_never_looked_at_is_refused_when_it_is_made(claim):
    with pytest.raises(ValueError, match="is no claim"):
        rule(claim, "x")


def test_a_rule_about_an_empty_value_is_refused_when_it_is_made():
    with pytest.raises(ValueError, match="empty"):
        rule("email", "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["admin", "ADMIN", "roles", "dev"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["roles", "mutx", "account"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["roles", "groups", "realm_access", "resource_access", "hd"]), JSON))
def test_whatever_claims_hold_only_mapped_roles_are_granted(claims):
    rules = [rule(claim, "dev") for claim in CLAIMS]

    with contextlib.suppress(TokenRefused):
        user = read_user(good_claims(**claims), rules)

        assert user.roles == {Role.DEVELOPER}
        assert "dev" in repr(claims)
