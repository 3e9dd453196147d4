"""The AWS account as it is: who we are, what stands there, what is left. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from typing import Any

from mutx_infra.adapters.aws_facts import Inventory, facts_of
from mutx_infra.adapters.aws_session import AwsSession, translated
from mutx_infra.errors import SpecError
from mutx_infra.naming import TENANT_TAG, flow_log_group, flow_log_role
from mutx_infra.plan import TenantPlan
from mutx_infra.verification import NetworkFacts

_GLOBAL_REGION = "us-east-1"

# Kind in words → (operation, key of the list, key of the id). Everything that the stacks make and AWS can tag.
_TAGGED: dict[str, tuple[str, str, str]] = {
    "vpc": ("describe_vpcs", "Vpcs", "VpcId"),
    "subnet": ("describe_subnets", "Subnets", "SubnetId"),
    "internet gateway": ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    "nat gateway": ("describe_nat_gateways", "NatGateways", "NatGatewayId"),
    "elastic ip": ("describe_addresses", "Addresses", "AllocationId"),
    "route table": ("describe_route_tables", "RouteTables", "RouteTableId"),
    "network acl": ("describe_network_acls", "NetworkAcls", "NetworkAclId"),
    "security group": ("describe_security_groups", "SecurityGroups", "GroupId"),
    "security group rule": ("describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId"),
    "vpc endpoint": ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    "flow log": ("describe_flow_logs", "FlowLogs", "FlowLogId"),
}
_GONE_STATES = {"deleted", "deleting"}
"""NAT gateways and endpoints stay listed for an hour after their deletion."""


class AwsCloud:
    """`Cloud` over the EC2, IAM, CloudWatch Logs and STS APIs."""

    def __init__(self, session: AwsSession) -> None:
        self._session = session

    def account_id(self) -> str:
        """Return the account of the credentials in use."""
        with translated("say which account this is"):
            return str(self._session.client("sts", _GLOBAL_REGION).get_caller_identity()["Account"])

    def zones(self, region: str) -> tuple[str, ...]:
        """Return the region's available zones, sorted by name."""
        from botocore.exceptions import ClientError, EndpointConnectionError  # noqa: PLC0415
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        try:
            answer = self._session.client("ec2", region).describe_availability_zones(
                Filters=[
                    {"Name": "state", "Values": ["available"]},
                    {"Name": "zone-type", "Values": ["availability-zone"]},
                ]
            )
        except (ClientError, EndpointConnectionError, ResponseParserError, KeyError):
            with translated(f"list the zones of {region}"):
                known = self._session.client("ec2", _GLOBAL_REGION).describe_regions()["Regions"]
            if region in {entry["RegionName"] for entry in known}:
                with translated(f"list the zones of {region}"):
                    raise
            raise _unknown(region) from None
        zones = sorted(zone["ZoneName"] for zone in answer["AvailabilityZones"])
        if not zones:
            raise _unknown(region)
        return tuple(zones)

    def blocks_in_use(self, region: str, *, besides: str) -> tuple[IPv4Network, ...]:
        """Return the CIDRs of live VPCs that do not carry the tenant tag of `besides`."""
        with translated("list the VPCs"):
            vpcs = self._all("ec2", region, "describe_vpcs", "Vpcs")
        return tuple(
            IPv4Network(association["CidrBlock"])
            for vpc in vpcs
            if _tags(vpc).get(TENANT_TAG) != besides
            for association in vpc.get("CidrBlockAssociationSet") or [{"CidrBlock": vpc["CidrBlock"]}]
        )

    def observe(self, plan: TenantPlan) -> NetworkFacts:
        """Return the live network of the plan's tenant, whoever made it."""
        with translated("show the tenant's network"):
            vpcs = self._all("ec2", plan.region, "describe_vpcs", "Vpcs", _tenant_filter(plan.tenant))
            ids = [vpc["VpcId"] for vpc in vpcs]
            if not ids:
                return NetworkFacts()
            inside = [{"Name": "vpc-id", "Values": ids}]
            ec2 = self._session.client("ec2", plan.region)
            jobs: dict[str, Callable[[], Any]] = {
                "subnets": lambda: self._all("ec2", plan.region, "describe_subnets", "Subnets", inside),
                "tables": lambda: self._all(
                    "ec2", plan.region, "describe_route_tables", "RouteTables", inside
                ),
                "acls": lambda: self._all("ec2", plan.region, "describe_network_acls", "NetworkAcls", inside),
                "groups": lambda: self._all(
                    "ec2", plan.region, "describe_security_groups", "SecurityGroups", inside
                ),
                "gateways": lambda: self._all(
                    "ec2",
                    plan.region,
                    "describe_internet_gateways",
                    "InternetGateways",
                    [{"Name": "attachment.vpc-id", "Values": ids}],
                ),
                "nats": lambda: self._all("ec2", plan.region, "describe_nat_gateways", "NatGateways", inside),
                "endpoints": lambda: self._all(
                    "ec2", plan.region, "describe_vpc_endpoints", "VpcEndpoints", inside
                ),
                "flow_logs": lambda: self._all(
                    "ec2",
                    plan.region,
                    "describe_flow_logs",
                    "FlowLogs",
                    [{"Name": "resource-id", "Values": ids}],
                ),
                "prefix_lists": lambda: self._all("ec2", plan.region, "describe_prefix_lists", "PrefixLists"),
                "dns": lambda: {
                    (vpc, name): ec2.describe_vpc_attribute(VpcId=vpc, Attribute=name)[
                        name[0].upper() + name[1:]
                    ]["Value"]
                    for vpc in ids
                    for name in ("enableDnsSupport", "enableDnsHostnames")
                },
                "log_groups": lambda: self._all(
                    "logs",
                    plan.region,
                    "describe_log_groups",
                    "logGroups",
                    logGroupNamePrefix=flow_log_group(plan.tenant),
                ),
            }
            with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
                results = {name: pool.submit(job) for name, job in jobs.items()}
                found = {name: future.result() for name, future in results.items()}
        return facts_of(plan, Inventory(vpcs=vpcs, **found))

    def residue(self, tenant: str, region: str) -> tuple[str, ...]:
        """Return what is left of a tenant in every service that the stacks use, one `kind id` a line."""
        with translated("list what is left of the tenant"):
            left = [
                f"{kind} {item[id_key]}"
                for kind, (operation, key, id_key) in _TAGGED.items()
                for item in self._tagged(tenant, region, operation, key)
                if str(item.get("State", "")) not in _GONE_STATES
            ]
            left += [
                f"log group {group['logGroupName']}"
                for group in self._all(
                    "logs",
                    region,
                    "describe_log_groups",
                    "logGroups",
                    logGroupNamePrefix=flow_log_group(tenant),
                )
                if group["logGroupName"] == flow_log_group(tenant)
            ]
            left += self._role_left(tenant)
        return tuple(left)

    def _role_left(self, tenant: str) -> list[str]:
        iam = self._session.client("iam", _GLOBAL_REGION)
        try:
            iam.get_role(RoleName=flow_log_role(tenant))
        except iam.exceptions.NoSuchEntityException:
            return []
        return [f"role {flow_log_role(tenant)}"]

    def _tagged(self, tenant: str, region: str, operation: str, key: str) -> Iterable[dict[str, Any]]:
        """Return a tenant's items; the tags are looked at again, since not every endpoint honours the filter."""
        items = self._all("ec2", region, operation, key, _tenant_filter(tenant))
        return [item for item in items if _tags(item).get(TENANT_TAG) == tenant]

    def _all(
        self,
        service: str,
        region: str,
        operation: str,
        key: str,
        filters: list[dict[str, Any]] | None = None,
        **more: object,
    ) -> list[dict[str, Any]]:
        """Return every item of a paged listing. EC2 spells `Filters` as `Filter` in one operation."""
        client = self._session.client(service, region)
        name = "Filter" if operation == "describe_flow_logs" else "Filters"
        request = {**more, **({name: filters} if filters else {})}
        if not client.can_paginate(operation):
            return list(getattr(client, operation)(**request)[key])
        return [item for page in client.get_paginator(operation).paginate(**request) for item in page[key]]


def _tenant_filter(tenant: str) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{TENANT_TAG}", "Values": [tenant]}]


def _tags(item: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags") or []}


def _unknown(region: str) -> SpecError:
    return SpecError(
        f"the region {region} does not exist or is not enabled for this account",
        code="region-unknown",
        remedy="correct `region:` in the spec, or enable the region in the account",
    )
