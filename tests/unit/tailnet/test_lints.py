"""What is wrong with a policy that somebody wrote by hand, and how it is told apart from ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mutx_infra.tailnet.composition import Member, Platform, compose
from mutx_infra.tailnet.difference import compare
from mutx_infra.tailnet.lints import lint, tenant_of
from mutx_infra.tailnet.policy import Grant

ACME, GLOBEX = Member("acme", ("ann@acme.example",)), Member("globex")
OURS = compose([ACME, GLOBEX], Platform(("alice@mutx.dev",))).policy


def found(*more: Grant, **sections: object) -> list[tuple[str, str]]:
    policy = replace(OURS, grants=(*OURS.grants, *more), **sections)  # type: ignore[arg-type]
    return [(each.code, each.place) for each in lint(policy, OURS.grants)]


@pytest.mark.parametrize(
    ("source", "destination", "ip", "code"),
    [
        ("*", "tag:t-acme-guard", "tcp:8443", "grant-wide"),
        ("autogroup:tagged", "tag:t-acme-guard", "tcp:8443", "grant-wide"),
        ("tag:mutx-control-plane", "*", "tcp:8443", "grant-wide"),
        ("100.64.0.0/10", "tag:t-acme-guard", "tcp:8443", "grant-by-address"),
        ("tag:mutx-control-plane", "tag:t-acme-guard", "*", "grant-of-many-ports"),
        ("tag:mutx-control-plane", "tag:t-acme-guard", "8443", "grant-of-many-ports"),
        ("tag:t-acme-agent", "tag:t-globex-agent", "tcp:8080", "grant-crosses-tenants"),
        ("group:t-acme-admins", "tag:t-globex-vault", "tcp:8200", "grant-crosses-tenants"),
        ("tag:t-acme-agent", "tag:mutx-control-plane", "tcp:443", "grant-crosses-tenants"),
        ("tag:mutx-control-plane", "tag:t-acme-agent", "tcp:8080", "grant-without-reason"),
    ],
)
def test_a_grant_by_hand_is_named(source: str, destination: str, ip: str, code: str) -> None:
    seen = found(Grant((source,), (destination,), (ip,), place="grants[99]"))

    assert (code, "grants[99]") in seen
    assert ("grant-without-reason", "grants[99]") in seen
    assert {place for _, place in seen} == {"grants[99]"}


def test_ours_has_none_and_its_own_grant_again_neither() -> None:
    assert found() == []
    assert found(OURS.grants[0]) == []


@pytest.mark.parametrize(
    ("owners", "code"),
    [((), "tag-without-owner"), (("autogroup:member",), "tag-owner-wide"), (("group:t-acme-admins",), "tag-owner-wide"),
     (("group:mutx-operators",), "tag-owner-wide"), (("tag:mutx-converge",), "tag-owner-wide")],
)  # fmt: skip
def test_a_tag_that_nobody_or_anybody_may_hand_out_is_named(owners: tuple[str, ...], code: str) -> None:
    assert found(tag_owners={**OURS.tag_owners, "tag:t-acme-agent": owners}) == [
        (code, "tagOwners.tag:t-acme-agent")
    ]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"action": "accept"}, "ssh-without-check"),
        ({"users": ["mutx", "root"]}, "ssh-root"),
        ({"src": ["autogroup:member"]}, "ssh-wide"),
        ({"dst": ["*"]}, "ssh-wide"),
    ],
)
def test_an_ssh_rule_by_hand_is_named(changed: dict[str, object], code: str) -> None:
    rule = {**OURS.ssh[0], **changed}

    assert found(ssh=(*OURS.ssh, rule)) == [(code, f"ssh[{len(OURS.ssh)}]")]


@pytest.mark.parametrize(
    ("selector", "tenant"),
    [("tag:t-acme-guard", "acme"), ("tag:t-a-b-c-vault", "a-b-c"), ("group:t-acme-admins", "acme"),
     ("tag:mutx-control-plane", ""), ("alice@mutx.dev", ""), ("*", "")],
)  # fmt: skip
def test_a_selector_tells_its_tenant(selector: str, tenant: str) -> None:
    assert tenant_of(selector) == tenant


class TestDifference:
    def test_a_new_tenant_is_told_as_who_gains_what(self) -> None:
        change = compare(compose([ACME], Platform()).policy, compose([ACME, GLOBEX], Platform()).policy)

        assert "tag:mutx-control-plane → tag:t-globex-guard tcp:8443" in map(str, change.gained)
        assert change.lost == ()
        assert all("globex" in f"{access.source}{access.destination}" for access in change.gained)
        assert all("globex" in tag for tag in change.owners)

    def test_the_way_back_is_its_mirror(self) -> None:
        one, two = compose([ACME], Platform()).policy, OURS

        there, back = compare(one, two), compare(two, one)

        assert (there.gained, there.lost, there.joined, there.left) == (
            back.lost,
            back.gained,
            back.left,
            back.joined,
        )

    def test_order_is_no_change(self) -> None:
        turned = replace(OURS, grants=OURS.grants[::-1], tests=OURS.tests[::-1], ssh=OURS.ssh[::-1])

        assert compare(OURS, turned).is_empty

    def test_a_person_more_is_one(self) -> None:
        grown = replace(
            OURS, groups={**OURS.groups, "group:mutx-operators": ("alice@mutx.dev", "eve@x.example")}
        )

        assert compare(OURS, grown).joined == (("group:mutx-operators", "eve@x.example"),)
        assert not compare(OURS, grown).gained
