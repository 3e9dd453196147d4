"""What a new tenant needs, against what is there: each lack is named with its remedy."""

from __future__ import annotations

from typing import Any

import pytest

from mutx_infra.capacity import Capacity, Quota, needs, quota_of, require, shortages
from mutx_infra.errors import RefusedError
from mutx_infra.plan import TenantPlan
from tests.support.specs import a_plan

VCPUS = {
    "t3.small": 2,
    "t3.medium": 2,
    "g4dn.xlarge": 4,
    "m6i.xlarge": 4,
    "r6i.xlarge": 4,
    "m6i.large": 2,
    "g5.2xlarge": 8,
}


def enough(plan: TenantPlan, **changes: Any) -> Capacity:
    kinds = frozenset(host.instance_type for host in plan.hosts)
    return Capacity.model_validate(
        {
            "limits": dict.fromkeys(Quota, 100),
            "used": {},
            "vcpus": VCPUS,
            "offered": dict.fromkeys(plan.zones, kinds),
            "images": frozenset(host.image_parameter for host in plan.hosts),
            **changes,
        }
    )


def codes(plan: TenantPlan, there: Capacity) -> list[str]:
    return [shortage.code for shortage in shortages(plan, there)]


def test_what_is_there_is_enough() -> None:
    plan = a_plan()

    assert codes(plan, enough(plan)) == []
    require(plan, enough(plan))


def test_needs_are_counted_by_quota() -> None:
    assert needs(a_plan(), VCPUS) == {
        Quota.VPCS: 1,
        Quota.NATS: 1,
        Quota.ADDRESSES: 1,
        Quota.STANDARD_VCPUS: 8,
        Quota.GPU_VCPUS: 4,
    }
    dedicated = needs(a_plan(tier="dedicated"), VCPUS)
    assert (dedicated[Quota.NATS], dedicated[Quota.ADDRESSES]) == (1, 3)
    assert dedicated[Quota.GPU_VCPUS] == 16


@pytest.mark.parametrize("quota", Quota)
def test_one_too_few_of_any_quota_is_refused(quota: Quota) -> None:
    plan = a_plan()
    wanted = needs(plan, VCPUS)[quota]
    fits = enough(plan, limits={quota: 5 + wanted}, used={quota: 5})
    short = enough(plan, limits={quota: 4 + wanted}, used={quota: 5})

    assert codes(plan, fits) == []
    with pytest.raises(RefusedError) as caught:
        require(plan, short)
    assert caught.value.code == "quota-exceeded"
    assert "5 are used" in caught.value.message
    assert str(quota) in caught.value.remedy


def test_a_quota_that_aws_does_not_tell_is_not_judged() -> None:
    plan = a_plan()

    assert codes(plan, enough(plan, limits={}, used={Quota.VPCS: 10_000})) == []


def test_a_region_without_the_gpu_type_is_refused_by_zone() -> None:
    plan = a_plan()
    there = enough(plan, offered={"eu-west-1a": frozenset({"t3.small", "t3.medium"})})

    (shortage,) = shortages(plan, there)

    assert (shortage.code, shortage.text) == ("instance-type-unavailable", "eu-west-1a offers no g4dn.xlarge")


def test_a_region_without_images_is_refused_by_parameter() -> None:
    plan = a_plan()

    found = list(shortages(plan, enough(plan, images=frozenset())))

    assert [shortage.code for shortage in found] == ["image-missing", "image-missing"]
    assert "/mutx/images/base" in found[0].text


def test_all_shortages_are_told_at_once() -> None:
    plan = a_plan()

    with pytest.raises(RefusedError) as caught:
        require(plan, enough(plan, images=frozenset(), limits=dict.fromkeys(Quota, 0)))

    assert len(caught.value.detail.splitlines()) == 6


@pytest.mark.parametrize(
    ("kind", "quota"),
    [
        ("t3.small", Quota.STANDARD_VCPUS),
        ("m6i.large", Quota.STANDARD_VCPUS),
        ("g4dn.xlarge", Quota.GPU_VCPUS),
        ("g6.2xlarge", Quota.GPU_VCPUS),
        ("vt1.3xlarge", Quota.GPU_VCPUS),
        ("p5.48xlarge", None),
        ("inf2.xlarge", None),
        ("u-6tb1.metal", None),
        ("", None),
    ],
)
def test_an_instance_type_counts_for_the_quota_of_its_family(kind: str, quota: Quota | None) -> None:
    assert quota_of(kind) is quota
