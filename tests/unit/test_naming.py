from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutx_infra import naming
from mutx_infra.flows import Role

LONGEST_ID = "a" + "b" * 61 + "c"
LONGEST_TWINS = ("a" + "b" * 60 + "c1", "a" + "b" * 60 + "c2")

Name = Callable[[str], str]

# name function, longest that its service takes, and what its service takes.
NAMES: dict[str, tuple[Name, int, str]] = {
    "stack": (naming.stack_name, 100, r"[A-Za-z0-9_.-]+"),
    "log group": (naming.flow_log_group, 512, r"[A-Za-z0-9_/.#-]+"),
    "role": (naming.flow_log_role, 64, r"[A-Za-z0-9+=,.@_-]+"),
    "host": (lambda tenant: naming.host_name(tenant, "control-plane-1"), 63, r"[a-z0-9-]+"),
    "resource": (lambda tenant: naming.resource_name(tenant, "route-app-a-default"), 256, r"[A-Za-z0-9-]+"),
    **{
        f"group {role}": (
            lambda tenant, role=role: naming.security_group_name(tenant, role),
            255,
            r"[A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]+",
        )
        for role in Role
    },
}

every_name = pytest.mark.parametrize(("name", "limit", "alphabet"), NAMES.values(), ids=NAMES)


@every_name
@pytest.mark.parametrize("tenant", ["ab", "a-1", LONGEST_ID], ids=["shortest", "dashed", "longest"])
def test_a_name_keeps_to_its_services_limits(tenant: str, name: Name, limit: int, alphabet: str) -> None:
    assert len(name(tenant)) <= limit
    assert re.fullmatch(alphabet, name(tenant))


@every_name
def test_two_of_the_longest_tenants_never_share_a_name(name: Name, limit: int, alphabet: str) -> None:
    one, other = LONGEST_TWINS

    assert name(one) != name(other)


def test_a_truncated_name_keeps_its_start_and_tells_twins_apart() -> None:
    one, other = (naming.flow_log_role(tenant) for tenant in LONGEST_TWINS)

    assert len(one) == len(other) == 64
    assert one[:55] == other[:55]
    assert one != other


def test_a_group_name_does_not_begin_as_aws_forbids() -> None:
    assert not naming.security_group_name("sg-x", "agent").startswith("sg-sg-")
    assert not naming.security_group_name("acme", "agent").startswith("sg-")


@given(st.text("ab-", min_size=1, max_size=40), st.integers(12, 40))
def test_bounding_keeps_what_fits_and_never_exceeds(name: str, limit: int) -> None:
    bounded = naming.bounded(name, limit)

    assert len(bounded) <= limit
    assert bounded == name or (len(name) > limit and re.search(r"-[0-9a-f]{8}$", bounded))


@given(st.lists(st.text("ab-", min_size=20, max_size=60), min_size=2, max_size=6, unique=True))
def test_different_names_stay_different_when_bounded(names: list[str]) -> None:
    assert len({naming.bounded(name, 20) for name in names}) == len(names)


def test_the_toolkits_tags_win_over_the_operators() -> None:
    tags = naming.tags_for("acme", "vpc", {"team": "x", "mutx:tenant": "globex", "Name": "other"})

    assert tags == {
        "team": "x",
        "mutx:tenant": "acme",
        "Name": "acme-vpc",
        "mutx:managed-by": "mutx-infra",
    }


def test_every_resource_of_a_tenant_has_a_name_of_its_own_beside_another_tenants() -> None:
    """`a-b` with `c` and `a` with `b-c` meet; the tenant's tag tells them apart, so recovery must use both."""
    one, other = naming.tags_for("a-b", "c", {}), naming.tags_for("a", "b-c", {})

    assert one["Name"] == other["Name"]
    assert one["mutx:tenant"] != other["mutx:tenant"]
