"""The AWS account as it is: who we are, what stands there, what is left. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network

from mutx_infra.adapters.aws_capacity import AwsCapacity
from mutx_infra.adapters.aws_listing import (
    GLOBAL_REGION,
    GONE_STATES,
    AwsListing,
    key_tags,
    tags_of,
    tenant_filter,
)
from mutx_infra.adapters.aws_observer import AwsObserver
from mutx_infra.adapters.aws_session import AwsSession, translated
from mutx_infra.capacity import Capacity
from mutx_infra.errors import SpecError
from mutx_infra.naming import PURPOSE_TAG, RETAINED_TAG, TENANT_TAG, host_parameters
from mutx_infra.plan import TenantPlan
from mutx_infra.records import LogEvent, Tombstone
from mutx_infra.verification import TenantFacts

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
    "launch template": ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    "volume": ("describe_volumes", "Volumes", "VolumeId"),
}
_IAM_KINDS = {
    "role": ("list_roles", "Roles", "RoleName"),
    "instance profile": ("list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    "policy": ("list_policies", "Policies", "PolicyName"),
}
_AT_ONCE = 12
_PARAMETERS_AT_ONCE = 10
"""SSM deletes no more by one call."""


class AwsCloud:
    """`Cloud` over the EC2, IAM, KMS, CloudWatch Logs and STS APIs."""

    def __init__(self, session: AwsSession) -> None:
        self._session, self._listing = session, AwsListing(session)

    def in_account(self, account: str) -> AwsCloud:
        """Return the same for another account, entered by the profile's role."""
        return AwsCloud(self._session.for_account(account))

    def account_id(self) -> str:
        """Return the account of the credentials in use."""
        with translated("say which account this is"):
            return str(self._session.client("sts", GLOBAL_REGION).get_caller_identity()["Account"])

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
                known = self._session.client("ec2", GLOBAL_REGION).describe_regions()["Regions"]
            if region in {entry["RegionName"] for entry in known}:
                with translated(f"list the zones of {region}"):
                    raise
            raise _unknown(region) from None
        zones = sorted(zone["ZoneName"] for zone in answer["AvailabilityZones"])
        if not zones:
            raise _unknown(region)
        return tuple(zones)

    def capacity(self, plan: TenantPlan) -> Capacity:
        """Return what the account has for a plan in its region."""
        return AwsCapacity(self._listing).look(plan)

    def blocks_in_use(self, region: str, *, besides: str) -> tuple[IPv4Network, ...]:
        """Return the CIDRs of live VPCs that do not carry the tenant tag of `besides`."""
        with translated("list the VPCs"):
            vpcs = self._listing.all("ec2", region, "describe_vpcs", "Vpcs")
        return tuple(
            IPv4Network(association["CidrBlock"])
            for vpc in vpcs
            if tags_of(vpc).get(TENANT_TAG) != besides
            for association in vpc.get("CidrBlockAssociationSet") or [{"CidrBlock": vpc["CidrBlock"]}]
        )

    def observe(self, plan: TenantPlan) -> TenantFacts:
        """Return the live tenant of the plan, whoever made what is there."""
        return AwsObserver(self._listing).observe(plan)

    def residue(self, tenant: str, region: str) -> tuple[str, ...]:
        """Return what is left of a tenant in every service that the stacks use, one `kind id` a line."""
        with translated("list what is left of the tenant"):
            left = [
                f"{kind} {item[id_key]}"
                for kind, (operation, key, id_key) in _TAGGED.items()
                for item in self._listing.tagged(tenant, region, operation, key)
                if str(item.get("State", "")) not in GONE_STATES
            ]
            left += [
                f"instance {instance['InstanceId']}"
                for instance in self._listing.instances(region, tenant_filter(tenant))
                if instance["State"]["Name"] not in GONE_STATES
            ]
            left += [
                f"log group {group['logGroupName']}" for group in self._listing.log_groups(tenant, region)
            ]
            left += [
                f"{kind} {item[name]}"
                for kind, (operation, key, name) in _IAM_KINDS.items()
                for item in self._listing.below(operation, key, tenant)
            ]
            left += [f"parameter {name}" for name in self._parameters(tenant, region)]
        return tuple(left)

    def log_groups(self, tenant: str, region: str) -> tuple[str, ...]:
        """Return the names of the tenant's log groups."""
        with translated("list the tenant's log groups"):
            return tuple(str(group["logGroupName"]) for group in self._listing.log_groups(tenant, region))

    def log_events(self, group: str, region: str) -> Iterator[LogEvent]:
        """Yield every event of a log group; CloudWatch Logs sorts them by time, over all streams."""
        logs = self._session.client("logs", region)
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        with translated(f"read the log group {group}"):
            try:
                for page in pages:
                    for event in page["events"]:
                        yield LogEvent(
                            event["timestamp"],
                            event["ingestionTime"],
                            event["logStreamName"],
                            event["message"],
                        )
            except logs.exceptions.ResourceNotFoundException:
                return

    def clear_parameters(self, tenant: str, region: str) -> int:
        """Delete the SSM parameters of a tenant's hosts; return how many there were."""
        names = self._parameters(tenant, region)
        ssm = self._session.client("ssm", region)
        with translated("delete the parameters of the tenant's hosts"):
            for start in range(0, len(names), _PARAMETERS_AT_ONCE):
                ssm.delete_parameters(Names=names[start : start + _PARAMETERS_AT_ONCE])
        return len(names)

    def _parameters(self, tenant: str, region: str) -> list[str]:
        """Return the names of the SSM parameters of a tenant's hosts, and never a value."""
        filters = [{"Key": "Name", "Option": "BeginsWith", "Values": [host_parameters(tenant)]}]
        with translated("list the parameters of the tenant's hosts"):
            found = self._listing.all(
                "ssm", region, "describe_parameters", "Parameters", ParameterFilters=filters
            )
        return [item["Name"] for item in found]

    def tombstones(self, tenant: str, region: str) -> tuple[Tombstone, ...]:
        """Return the tenant's KMS keys, living or on their way out; KMS can find them by their tags alone."""
        with translated("list the tenant's keys"), ThreadPoolExecutor(_AT_ONCE) as pool:
            kms = self._session.client("kms", region)
            keys = [entry["KeyId"] for entry in self._listing.all("kms", region, "list_keys", "Keys")]
            ours = dict(zip(keys, pool.map(lambda key: key_tags(kms, key), keys), strict=True))
            mine = [key for key, found in ours.items() if found.get(TENANT_TAG) == tenant]
            states = pool.map(lambda key: kms.describe_key(KeyId=key)["KeyMetadata"], mine)
            return tuple(
                Tombstone(
                    kind="KMS key",
                    id=key,
                    purpose=ours[key].get(PURPOSE_TAG, ""),
                    is_going=metadata["KeyState"] == "PendingDeletion",
                    goes_at=metadata.get("DeletionDate"),
                    retained_until=ours[key].get(RETAINED_TAG),
                    tenant=ours[key].get(TENANT_TAG),
                )
                for key, metadata in zip(mine, states, strict=True)
            )

    def mark_tombstones(self, tenant: str, region: str, *, days: int) -> None:
        """Tag what outlives its tenant with the day on which it goes.

        KMS takes no tags once a deletion is scheduled, so one that somebody else scheduled is scheduled anew.
        """
        kms = self._session.client("kms", region)
        until = (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
        for tombstone in self.tombstones(tenant, region):
            if tombstone.retained_until is not None and tombstone.is_going:
                continue
            with translated("tag a key that outlives its tenant"):
                if tombstone.is_going:
                    kms.cancel_key_deletion(KeyId=tombstone.id)
                kms.tag_resource(KeyId=tombstone.id, Tags=[{"TagKey": RETAINED_TAG, "TagValue": until}])
                if tombstone.is_going:
                    kms.schedule_key_deletion(KeyId=tombstone.id, PendingWindowInDays=days)


def _unknown(region: str) -> SpecError:
    return SpecError(
        f"the region {region} does not exist or is not enabled for this account",
        code="region-unknown",
        remedy="correct `region:` in the spec, or enable the region in the account",
    )
