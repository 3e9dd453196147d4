"""The policy that the registry asks for: what it opens, what it never opens, how little one tenant's change moves."""

from __future__ import annotations

import difflib
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutx_infra.flows import Role
from mutx_infra.tailnet.composition import Composed, Member, Platform, compose
from mutx_infra.tailnet.evaluation import Evaluator, Identity
from mutx_infra.tailnet.lints import lint
from mutx_infra.tailnet.policy import PROTOCOLS, read_policy

TCP = PROTOCOLS["tcp"]
PORTS = (22, 443, 3128, 5432, 6379, 8080, 8200, 8201, 8443, 8444)
ROLES = ("agent", "guard", "mgmt", "vault", "database")
OPERATOR, CONVERGE, CONTROL_PLANE = "alice@mutx.dev", "tag:mutx-converge", "tag:mutx-control-plane"
ACME = Member("acme", administrators=("ann@acme.example",), clients=("bob@acme.example",))
GLOBEX = Member("globex", administrators=("gus@globex.example",), clients=("kim@globex.example",))
PLATFORM = Platform(operators=(OPERATOR,))

ids = st.from_regex(r"[a-z](-?[a-z0-9]){1,12}", fullmatch=True)
members = st.builds(
    lambda id, people, handed: Member(  # noqa: A006 - the field's name
        id, (f"admin@{id}.example",) * people, (f"client@{id}.example",) * people, is_handed_over=handed
    ),
    ids, st.integers(0, 1), st.booleans(),
)  # fmt: skip
tenants = st.lists(members, max_size=6, unique_by=lambda member: member.id)


def identity(who: str) -> Identity:
    return Identity(user=who) if "@" in who else Identity(tags=(who,))


def opened(composed: Composed, sources: list[str], destinations: list[str]) -> set[tuple[str, str, int]]:
    evaluator = Evaluator(composed.policy)
    return {
        (source, destination, port)
        for source in sources
        for destination in destinations
        for port in PORTS
        if evaluator.reach(identity(source), identity(destination), TCP, port).is_open
    }


def hosts_of(tenant: str) -> list[str]:
    return [f"tag:t-{tenant}-{role}" for role in ROLES]


class TestAccess:
    def test_two_tenants_have_these_ways_in_and_no_others(self) -> None:
        everybody = [OPERATOR, CONVERGE, CONTROL_PLANE, "stranger@example.com"]
        everybody += [*ACME.administrators, *ACME.clients, *GLOBEX.administrators, *GLOBEX.clients]
        hosts = [*hosts_of("acme"), *hosts_of("globex"), CONTROL_PLANE, "tag:mutx-mgmt"]

        found = opened(compose([ACME, GLOBEX], PLATFORM), [*everybody, *hosts], hosts)

        by_ssh = [
            f"tag:t-{tenant}-{role}" for tenant in ("acme", "globex") for role in ("agent", "guard", "mgmt")
        ]
        by_ssh += [CONTROL_PLANE, "tag:mutx-mgmt"]
        wanted = {(who, host, 22) for who in (OPERATOR, CONVERGE) for host in by_ssh}
        for tenant, member in (("acme", ACME), ("globex", GLOBEX)):
            wanted |= {
                (CONTROL_PLANE, f"tag:t-{tenant}-guard", 8443),
                (member.administrators[0], f"tag:t-{tenant}-vault", 8200),
                (member.clients[0], CONTROL_PLANE, 443),
            }
        assert found == wanted

    def test_hand_over_closes_the_platform_s_ways_in(self) -> None:
        composed = compose([replace(ACME, is_handed_over=True), GLOBEX], PLATFORM)

        found = opened(composed, [OPERATOR, CONVERGE], [*hosts_of("acme"), *hosts_of("globex")])

        assert {host for _, host, _ in found} == {
            "tag:t-globex-agent",
            "tag:t-globex-guard",
            "tag:t-globex-mgmt",
        }
        assert not [rule for rule in composed.policy.ssh if any("acme" in host for host in rule["dst"])]

    def test_a_device_without_the_posture_is_no_operator_s(self) -> None:
        composed = compose([ACME], replace(PLATFORM, posture=("node:os IN ['linux']",)))
        evaluator = Evaluator(composed.policy)
        host = Identity(tags=("tag:t-acme-mgmt",))

        linux = evaluator.reach(Identity(OPERATOR, attributes={"node:os": "linux"}), host, TCP, 22)
        other = evaluator.reach(Identity(OPERATOR, attributes={"node:os": "windows"}), host, TCP, 22)

        assert linux.is_open
        assert not other.is_open
        assert [grant.posture for grant in other.lacking] == [("posture:mutx-operator",)]
        assert evaluator.reach(Identity(tags=(CONVERGE,)), host, TCP, 22).is_open

    def test_each_grant_has_its_row(self) -> None:
        composed = compose([ACME], PLATFORM)

        assert len(composed.reasons) == len(composed.policy.grants)
        (guard,) = [r for r in composed.reasons if r.flow.destination is Role.GUARD and 8443 in r.flow.ports]
        assert (guard.tenant, guard.flow.reason) == (
            "acme",
            "requests enter a tenant through its guard only, mTLS",
        )

    @given(tenants)
    def test_no_tenant_reaches_another_nor_anybody_data(self, some: list[Member]) -> None:
        evaluator = Evaluator(compose(some, PLATFORM).policy)
        for one in some:
            sources = [identity(who) for who in (*hosts_of(one.id), *one.administrators, *one.clients)]
            for other in some:
                if other is one:
                    continue
                for source in sources:
                    for host in hosts_of(other.id):
                        assert not any(evaluator.reach(source, identity(host), TCP, p).is_open for p in PORTS)
            database = identity(f"tag:t-{one.id}-database")
            for who in (OPERATOR, CONVERGE, CONTROL_PLANE, *hosts_of(one.id)):
                assert not any(evaluator.reach(identity(who), database, TCP, port).is_open for port in PORTS)


class TestItself:
    @given(tenants)
    def test_its_tests_hold_and_nobody_finds_fault(self, some: list[Member]) -> None:
        policy = compose(some, PLATFORM).policy

        assert Evaluator(policy).failed_tests() == ()
        assert lint(policy, policy.grants) == ()

    def test_each_of_its_tests_can_fail(self) -> None:
        policy = compose([ACME, GLOBEX], PLATFORM).policy
        accepted = [test for test in policy.tests if test.accept]
        denied = [test for test in policy.tests if test.deny]

        nothing = Evaluator(replace(policy, grants=())).failed_tests()
        everything = replace(policy.grants[0], sources=("*",), destinations=("*",), ip=("*",))
        all_of_it = Evaluator(replace(policy, grants=(everything,))).failed_tests()

        assert len(nothing) == sum(len(test.accept) for test in accepted)
        assert len(all_of_it) == sum(len(test.deny) for test in denied)

    @given(tenants)
    def test_what_was_written_is_what_is_read(self, some: list[Member]) -> None:
        policy = compose(some, PLATFORM).policy

        again = read_policy(policy.text())

        assert again.text() == policy.text()
        assert [g.document() for g in again.grants] == [g.document() for g in policy.grants]

    def test_the_order_of_the_tenants_does_not_matter(self) -> None:
        some = [Member("a1"), Member("b-2"), ACME, GLOBEX]

        assert len({compose(order, PLATFORM).policy.text() for order in permutations(some)}) == 1

    @pytest.mark.parametrize("where", ["a0", "m5", "zz"])
    def test_a_new_tenant_touches_its_own_lines_and_one_neighbour_s(self, where: str) -> None:
        some = [Member(f"{letter}{n}") for letter in "bcdnxy" for n in range(5)]
        before = compose(some, PLATFORM).policy.text().splitlines()
        after = compose([*some, Member(where)], PLATFORM).policy.text().splitlines()

        lines = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]

        foreign = {line for line in lines if f"t-{where}-" not in line}
        # What a neighbour tested against its next one, and the comma after a section's last line.
        touched = {
            word for line in foreign for word in line.replace('"', " ").split() if word.startswith("tag:t-")
        }
        assert len({tag.split("-")[1] for tag in touched}) <= 3
        assert len(foreign) <= 14


def test_a_tenant_named_like_another_with_a_role_is_another() -> None:
    composed = compose([Member("acme"), Member("acme-guard", ("eve@evil.example",))], PLATFORM)

    found = opened(composed, ["eve@evil.example"], [*hosts_of("acme"), *hosts_of("acme-guard")])

    assert found == {("eve@evil.example", "tag:t-acme-guard-vault", 8200)}
