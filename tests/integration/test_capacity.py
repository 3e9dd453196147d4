"""What an account cannot hold is refused before anything is made; quotas are set as AWS lets them be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.checkout import Checkout
from tests.support.tenants import create, resources_of


@pytest.fixture
def quotas(checkout: Checkout) -> Any:
    """Sets a quota of the sandbox's region; it is wide again afterwards."""
    client = checkout.aws("service-quotas")
    changed: list[tuple[str, str]] = []

    def set_to(service: str, code: str, value: float) -> None:
        changed.append((service, code))
        client.request_service_quota_increase(ServiceCode=service, QuotaCode=code, DesiredValue=value)

    yield set_to
    for service, code in changed:
        client.request_service_quota_increase(ServiceCode=service, QuotaCode=code, DesiredValue=1000)


QUOTAS = [
    ("vpc", "L-F678F1CE", "VPCs per Region"),
    ("ec2", "L-0263D0A3", "EC2-VPC Elastic IPs"),
    ("vpc", "L-FE5A380F", "NAT gateways per Availability Zone"),
    ("ec2", "L-1216C47A", "Standard instances"),
    ("ec2", "L-DB2E81BA", "G and VT instances"),
]
"""Service, code, and words of its title."""


@pytest.mark.parametrize(("service", "code", "words"), QUOTAS)
def test_a_quota_that_is_spent_refuses_before_anything_is_made(
    checkout: Checkout, tenant: str, quotas: Any, service: str, code: str, words: str
) -> None:
    quotas(service, code, 0)

    refused = checkout.run("tenant", "create", tenant, expect=4).stderr

    assert "error[quota-exceeded]" in refused
    assert "also: " not in refused
    assert words in refused
    assert f"Service Quotas, {service}/{code}" in refused
    assert resources_of(checkout, tenant) == []
    assert tenant not in str(checkout.json("tenant", "list"))


def test_a_preview_names_each_quota_that_is_spent(checkout: Checkout, tenant: str, quotas: Any) -> None:
    for service, code, _ in QUOTAS:
        quotas(service, code, 0)

    seen = checkout.json("tenant", "preview", tenant, expect=10)["shortages"]

    assert [shortage["code"] for shortage in seen] == ["quota-exceeded"] * len(QUOTAS)
    for service, code, words in QUOTAS:
        assert [s for s in seen if words in s["text"] and f"{service}/{code}" in s["remedy"]], code


def test_what_others_use_counts_and_what_the_tenant_uses_does_not(
    checkout: Checkout, tenant: str, quotas: Any
) -> None:
    used = len(checkout.aws("ec2").describe_vpcs()["Vpcs"])
    quotas("vpc", "L-F678F1CE", used + 1)
    create(checkout, tenant)
    checkout.write_spec("one-too-many")

    refused = checkout.run("tenant", "create", "one-too-many", expect=4).stderr

    assert f"allows {used + 1} VPCs per Region, {used + 1} are used, one-too-many needs 1" in refused
    assert create(checkout, tenant)["changes"]["resources"] == []
    checkout.run("tenant", "destroy", tenant, "--yes")


def test_a_region_without_the_gpu_type_is_refused(checkout: Checkout, tenant: str) -> None:
    checkout.write_spec(tenant, region="ap-south-2")

    refused = checkout.run("tenant", "create", tenant, expect=4).stderr

    assert "error[instance-type-unavailable]: ap-south-2a offers no g4dn.xlarge" in refused
    assert tenant not in str(checkout.json("tenant", "list"))


def test_a_region_without_images_is_refused(checkout: Checkout, tenant: str) -> None:
    ssm = checkout.aws("ssm")
    image = ssm.get_parameter(Name="/mutx/images/gpu")["Parameter"]["Value"]
    ssm.delete_parameter(Name="/mutx/images/gpu")

    refused = checkout.run("tenant", "create", tenant, expect=4).stderr

    ssm.put_parameter(Name="/mutx/images/gpu", Value=image, Type="String")
    assert "error[image-missing]" in refused
    assert "/mutx/images/gpu" in refused


def test_a_preview_estimates_the_month_with_the_age_of_its_prices(checkout: Checkout, tenant: str) -> None:
    seen = checkout.json("tenant", "preview", tenant, expect=10)["estimate"]
    shown = checkout.run("tenant", "preview", tenant, expect=10).stdout

    assert seen["total"] == pytest.approx(sum(item["monthly"] for item in seen["items"]))
    assert f"{seen['age_days']} days old" in shown
