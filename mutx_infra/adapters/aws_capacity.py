"""Quotas, what is used of them, instance types and images of one account and region. Reads only."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mutx_infra.adapters.aws_listing import AwsListing, tags_of
from mutx_infra.adapters.aws_session import translated
from mutx_infra.capacity import Capacity, Quota, quota_of
from mutx_infra.naming import TENANT_TAG
from mutx_infra.plan import TenantPlan

_ENDED = {"terminated", "shutting-down", "stopped", "deleted", "failed"}
_UNTOLD = {"NoSuchResourceException", "AccessDeniedException"}


class AwsCapacity:
    """Looks at what one plan needs."""

    def __init__(self, listing: AwsListing) -> None:
        self._listing = listing

    def look(self, plan: TenantPlan) -> Capacity:
        """Return what the account has in the plan's region, without what the tenant itself uses."""
        with translated("say what the account may use"), ThreadPoolExecutor(8) as pool:
            limits = {quota: pool.submit(self._limit, plan.region, quota) for quota in Quota}
            offered = pool.submit(self._offered, plan)
            images = pool.submit(self._images, plan)
            used = pool.submit(self._used, plan)
            vcpus, counts = used.result()
            return Capacity(
                limits={
                    quota: limit for quota, found in limits.items() if (limit := found.result()) is not None
                },
                used=counts,
                vcpus=vcpus,
                offered=offered.result(),
                images=images.result(),
            )

    def _limit(self, region: str, quota: Quota) -> float | None:
        """Return a quota's value; None where AWS has none for this region, or does not tell."""
        service, code = quota.split("/")
        client = self._listing.session.client("service-quotas", region)
        try:
            return float(client.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"])
        except client.exceptions.ClientError as exc:
            if exc.response["Error"]["Code"] in _UNTOLD:
                return None
            raise

    def _used(self, plan: TenantPlan) -> tuple[dict[str, int], dict[Quota, int]]:
        """Return the vCPUs of every type in sight, and what others use of each quota."""

        def others(operation: str, key: str) -> list[dict[str, Any]]:
            items = self._listing.all("ec2", plan.region, operation, key)
            return [item for item in items if tags_of(item).get(TENANT_TAG) != plan.tenant]

        running = [
            str(instance["InstanceType"])
            for instance in self._listing.instances(plan.region, [])
            if instance["State"]["Name"] not in _ENDED and tags_of(instance).get(TENANT_TAG) != plan.tenant
        ]
        nats = Counter(
            str(nat["SubnetId"])
            for nat in others("describe_nat_gateways", "NatGateways")
            if nat["State"] not in _ENDED
        )
        zones: Counter[str] = Counter()
        for subnet in self._listing.all("ec2", plan.region, "describe_subnets", "Subnets") if nats else ():
            zones[subnet["AvailabilityZone"]] += nats[subnet["SubnetId"]]
        kinds = sorted({*running, *(host.instance_type for host in plan.hosts)})
        vcpus = self._vcpus(plan.region, kinds)
        used = {
            Quota.VPCS: len(others("describe_vpcs", "Vpcs")),
            Quota.ADDRESSES: len(others("describe_addresses", "Addresses")),
            Quota.NATS: max((zones[nat.zone] for nat in plan.nat_gateways), default=0),
        }
        for kind in running:
            quota = quota_of(kind)
            if quota is not None:
                used[quota] = used.get(quota, 0) + vcpus.get(kind, 0)
        return vcpus, used

    def _vcpus(self, region: str, kinds: list[str]) -> dict[str, int]:
        """Return vCPUs by type; a type that the region does not know is left out."""
        wanted = [{"Name": "instance-type", "Values": kinds}]
        found = self._listing.all("ec2", region, "describe_instance_types", "InstanceTypes", wanted)
        return {str(kind["InstanceType"]): int(kind["VCpuInfo"]["DefaultVCpus"]) for kind in found}

    def _offered(self, plan: TenantPlan) -> dict[str, frozenset[str]]:
        kinds = sorted({host.instance_type for host in plan.hosts})
        offers = self._listing.all(
            "ec2",
            plan.region,
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            [{"Name": "instance-type", "Values": kinds}],
            LocationType="availability-zone",
        )
        found: dict[str, set[str]] = {}
        for offer in offers:
            found.setdefault(offer["Location"], set()).add(offer["InstanceType"])
        return {zone: frozenset(types) for zone, types in found.items()}

    def _images(self, plan: TenantPlan) -> frozenset[str]:
        names = sorted({host.image_parameter for host in plan.hosts})
        found = self._listing.session.client("ssm", plan.region).get_parameters(Names=names)["Parameters"]
        return frozenset(str(parameter["Name"]) for parameter in found)
