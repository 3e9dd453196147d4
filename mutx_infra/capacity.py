"""What a new tenant needs of its account and region, and what is there: compared before anything is made."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from mutx_infra.errors import RefusedError
from mutx_infra.plan import TenantPlan


class Quota(StrEnum):
    """An AWS service quota that tenants use up: service and code, as Service Quotas names them."""

    VPCS = "vpc/L-F678F1CE"
    NATS = "vpc/L-FE5A380F"
    ADDRESSES = "ec2/L-0263D0A3"
    STANDARD_VCPUS = "ec2/L-1216C47A"
    GPU_VCPUS = "ec2/L-DB2E81BA"


TITLES = {
    Quota.VPCS: "VPCs per Region",
    Quota.NATS: "NAT gateways per Availability Zone",
    Quota.ADDRESSES: "EC2-VPC Elastic IPs",
    Quota.STANDARD_VCPUS: "vCPUs of Running On-Demand Standard instances",
    Quota.GPU_VCPUS: "vCPUs of Running On-Demand G and VT instances",
}
GPU_FAMILIES = ("g", "vt")
STANDARD_FAMILIES = ("a", "c", "d", "h", "i", "m", "r", "t", "z")


class Capacity(BaseModel):
    """What an account has in a region.

    Attributes:
        limits: by quota; one that AWS does not tell is left out and not judged.
        used: by quota, without this tenant's own; NAT gateways are those of the fullest zone.
        vcpus: by instance type.
        offered: instance types by zone.
        images: SSM parameters that name an image.
    """

    model_config = ConfigDict(frozen=True)

    limits: dict[Quota, float]
    used: dict[Quota, int]
    vcpus: dict[str, int]
    offered: dict[str, frozenset[str]]
    images: frozenset[str]


class Shortage(BaseModel):
    """One thing that is not there."""

    model_config = ConfigDict(frozen=True)

    code: str
    text: str
    remedy: str


def needs(plan: TenantPlan, vcpus: dict[str, int]) -> dict[Quota, int]:
    """Return what a plan uses of each quota."""
    by_zone = [nat.zone for nat in plan.nat_gateways]
    return {
        Quota.VPCS: 1,
        Quota.NATS: max((by_zone.count(zone) for zone in by_zone), default=0),
        Quota.ADDRESSES: len(plan.nat_gateways),
        Quota.STANDARD_VCPUS: sum(
            vcpus.get(host.instance_type, 0)
            for host in plan.hosts
            if quota_of(host.instance_type) is Quota.STANDARD_VCPUS
        ),
        Quota.GPU_VCPUS: sum(
            vcpus.get(host.instance_type, 0)
            for host in plan.hosts
            if quota_of(host.instance_type) is Quota.GPU_VCPUS
        ),
    }


def quota_of(instance_type: str) -> Quota | None:
    """Return the quota whose vCPUs an instance type counts for; None for families with quotas of their own."""
    head = instance_type[: next((i for i, c in enumerate(instance_type) if not c.isalpha()), 0)]
    if head in GPU_FAMILIES:
        return Quota.GPU_VCPUS
    return Quota.STANDARD_VCPUS if head in STANDARD_FAMILIES else None


def shortages(plan: TenantPlan, there: Capacity) -> Iterator[Shortage]:
    """Yield everything that is missing for a plan."""
    for image in sorted({host.image_parameter for host in plan.hosts} - there.images):
        yield Shortage(
            code="image-missing",
            text=f"no image is published in {plan.region}: the SSM parameter {image} does not exist",
            remedy="bake the images and publish them, or write an image's id into that parameter",
        )
    for kind, zone in sorted({(host.instance_type, host.zone) for host in plan.hosts}):
        if kind not in there.offered.get(zone, frozenset()):
            yield Shortage(
                code="instance-type-unavailable",
                text=f"{zone} offers no {kind}",
                remedy="choose another region, tier, or zones that offer it in `zones:`",
            )
    for quota, wanted in needs(plan, there.vcpus).items():
        limit, used = there.limits.get(quota), there.used.get(quota, 0)
        if limit is not None and used + wanted > limit:
            yield Shortage(
                code="quota-exceeded",
                text=f"{plan.region} allows {limit:.0f} {TITLES[quota]}, {used} are used, {plan.tenant} needs {wanted}",
                remedy=f"ask AWS for more (Service Quotas, {quota}), or remove what is not needed",
            )


def require(plan: TenantPlan, there: Capacity) -> None:
    """Refuse a plan that the account or region cannot hold.

    Raises:
        RefusedError: the first shortage is the message, the others are in the detail.
    """
    missing = list(shortages(plan, there))
    if missing:
        raise RefusedError(
            missing[0].text,
            code=missing[0].code,
            remedy=missing[0].remedy,
            detail="\n".join(f"also: {shortage.text}" for shortage in missing[1:]),
        )
