"""Find a resource that AWS made but no state recorded, so that recovery adopts it instead of making it twice.

By tags where AWS has them (they are set by the creating call itself), by natural key under the parent where it
has none: routes, associations, ACL entries, inline policies, and the default group.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from zlib import crc32

from mutx_infra.adapters.aws_listing import GONE_STATES, key_tags, tags_of
from mutx_infra.adapters.aws_session import AwsSession, translated
from mutx_infra.naming import NAME_TAG, TENANT_TAG

Inputs = Mapping[str, Any]

# Pulumi type → (operation, key of the list, key of the id) for what EC2 can filter by tag.
_BY_TAG: dict[str, tuple[str, str, str]] = {
    "aws:ec2/vpc:Vpc": ("describe_vpcs", "Vpcs", "VpcId"),
    "aws:ec2/subnet:Subnet": ("describe_subnets", "Subnets", "SubnetId"),
    "aws:ec2/internetGateway:InternetGateway": ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    "aws:ec2/eip:Eip": ("describe_addresses", "Addresses", "AllocationId"),
    "aws:ec2/natGateway:NatGateway": ("describe_nat_gateways", "NatGateways", "NatGatewayId"),
    "aws:ec2/routeTable:RouteTable": ("describe_route_tables", "RouteTables", "RouteTableId"),
    "aws:ec2/networkAcl:NetworkAcl": ("describe_network_acls", "NetworkAcls", "NetworkAclId"),
    "aws:ec2/securityGroup:SecurityGroup": ("describe_security_groups", "SecurityGroups", "GroupId"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    "aws:ec2/flowLog:FlowLog": ("describe_flow_logs", "FlowLogs", "FlowLogId"),
    "aws:ec2/launchTemplate:LaunchTemplate": ("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    "aws:ebs/volume:Volume": ("describe_volumes", "Volumes", "VolumeId"),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": (
        "describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": (
        "describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId"),
}  # fmt: skip
_BUCKET_SETTINGS = tuple(
    f"aws:s3/bucket{name}:Bucket{name}"
    for name in (
        "Versioning", "ServerSideEncryptionConfiguration", "PublicAccessBlock", "ObjectLockConfiguration",
        "LifecycleConfiguration", "Policy",
    )
)  # fmt: skip
_FILTER_ARGUMENT = {"describe_flow_logs": "Filter"}
_GONE = {"deleted", "deleting", "failed"}


class AwsLookup:
    """Finds, by its inputs, what a create call that nobody saw the end of has made."""

    def __init__(self, session: AwsSession, region: str) -> None:
        self._ec2 = session.client("ec2", region)
        self._logs = session.client("logs", region)
        self._iam = session.client("iam", region)
        self._s3 = session.client("s3", region)
        self._kms = session.client("kms", region)
        self._natural: dict[str, Callable[[Inputs], str | None]] = {
            "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": self._default_group,
            "aws:ec2/route:Route": self._route,
            "aws:ec2/routeTableAssociation:RouteTableAssociation": self._table_association,
            "aws:ec2/networkAclRule:NetworkAclRule": self._acl_entry,
            "aws:ec2/networkAclAssociation:NetworkAclAssociation": self._acl_association,
            "aws:cloudwatch/logGroup:LogGroup": self._log_group,
            "aws:iam/role:Role": self._role,
            "aws:iam/rolePolicy:RolePolicy": self._role_policy,
            "aws:iam/policy:Policy": self._policy,
            "aws:iam/instanceProfile:InstanceProfile": self._profile,
            "aws:ec2/volumeAttachment:VolumeAttachment": self._attachment,
            "aws:kms/alias:Alias": self._alias,
            "aws:s3/bucket:Bucket": self._bucket,
            **dict.fromkeys(_BUCKET_SETTINGS, self._bucket),
        }
        self._alike: dict[str, Callable[[Inputs], Iterator[str]]] = {
            "aws:ec2/instance:Instance": self._instances,
            "aws:kms/key:Key": self._keys,
        }

    def knows(self, kind: str) -> bool:
        """Say whether orphans of this type can be found at all."""
        return kind in _BY_TAG or kind in self._natural or kind in self._alike

    def find(self, kind: str, inputs: Inputs, *, besides: Collection[str]) -> str | None:
        """Return the id of the resource that these inputs made, as Pulumi would have recorded it, or None.

        Args:
            kind: Pulumi type token.
            inputs: the inputs of the unfinished create, with Pulumi's property names.
            besides: ids that the state already holds, e.g. of the resource being replaced.
        """
        with translated(f"look for an unrecorded {kind.rsplit(':', 1)[-1]}"):
            if kind in self._natural:
                found = self._natural[kind](inputs)
                return found if found not in besides else None
            if kind in self._alike:
                return next((found for found in self._alike[kind](inputs) if found not in besides), None)
            return self._tagged(kind, inputs.get("tags") or {}, besides)

    def complete(self, kind: str, identity: str) -> None:
        """Finish a create that takes several calls, where a later refresh would not see the missing half.

        AWS gives each new security group a rule that lets everything out; creating one includes removing it.
        """
        if kind != "aws:ec2/securityGroup:SecurityGroup":
            return
        with translated("empty a security group"):
            group = self._ec2.describe_security_groups(GroupIds=[identity])["SecurityGroups"][0]
            default = [p for p in group["IpPermissionsEgress"] if p["IpProtocol"] == "-1"]
            if default:
                self._ec2.revoke_security_group_egress(GroupId=identity, IpPermissions=default)

    def _tagged(self, kind: str, tags: Mapping[str, str], besides: Collection[str]) -> str | None:
        if NAME_TAG not in tags or TENANT_TAG not in tags:
            return None
        operation, key, id_key = _BY_TAG[kind]
        filters = [{"Name": f"tag:{tag}", "Values": [tags[tag]]} for tag in (TENANT_TAG, NAME_TAG)]
        answer = getattr(self._ec2, operation)(**{_FILTER_ARGUMENT.get(operation, "Filters"): filters})
        found = (
            item
            for item in answer[key]
            # Not every EC2 endpoint honours a tag filter everywhere: another tenant's resource must never be taken.
            if {(tag, tags[tag]) for tag in (TENANT_TAG, NAME_TAG)} <= tags_of(item).items()
            and str(item.get("State", "")).lower() not in _GONE
        )
        return next((str(item[id_key]) for item in found if item[id_key] not in besides), None)

    def _default_group(self, inputs: Inputs) -> str | None:
        filters = [
            {"Name": "vpc-id", "Values": [inputs["vpcId"]]},
            {"Name": "group-name", "Values": ["default"]},
        ]
        groups = self._ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
        return str(groups[0]["GroupId"]) if groups else None

    def _route(self, inputs: Inputs) -> str | None:
        table, destination = inputs["routeTableId"], inputs.get("destinationCidrBlock")
        tables = self._tables(RouteTableIds=[table])
        routes = [route for found in tables for route in found["Routes"]]
        if destination and any(route.get("DestinationCidrBlock") == destination for route in routes):
            return route_id(table, destination)
        return None

    def _table_association(self, inputs: Inputs) -> str | None:
        tables = self._tables(Filters=[{"Name": "association.subnet-id", "Values": [inputs["subnetId"]]}])
        return next(
            (
                str(association["RouteTableAssociationId"])
                for table in tables
                for association in table["Associations"]
                if association.get("SubnetId") == inputs["subnetId"]
                and table["RouteTableId"] == inputs["routeTableId"]
            ),
            None,
        )

    def _acl_entry(self, inputs: Inputs) -> str | None:
        egress, number = bool(inputs.get("egress", False)), int(inputs["ruleNumber"])
        for acl in self._acls(inputs["networkAclId"]):
            if any(e["Egress"] is egress and e["RuleNumber"] == number for e in acl["Entries"]):
                return acl_entry_id(acl["NetworkAclId"], number, str(inputs["protocol"]), egress=egress)
        return None

    def _acl_association(self, inputs: Inputs) -> str | None:
        for acl in self._acls(inputs["networkAclId"]):
            for association in acl["Associations"]:
                if association["SubnetId"] == inputs["subnetId"]:
                    return str(association["NetworkAclAssociationId"])
        return None

    def _log_group(self, inputs: Inputs) -> str | None:
        groups = self._logs.describe_log_groups(logGroupNamePrefix=inputs["name"])["logGroups"]
        return next((str(g["logGroupName"]) for g in groups if g["logGroupName"] == inputs["name"]), None)

    def _role(self, inputs: Inputs) -> str | None:
        try:
            return str(self._iam.get_role(RoleName=inputs["name"])["Role"]["RoleName"])
        except self._iam.exceptions.NoSuchEntityException:
            return None

    def _role_policy(self, inputs: Inputs) -> str | None:
        try:
            self._iam.get_role_policy(RoleName=inputs["role"], PolicyName=inputs["name"])
        except self._iam.exceptions.NoSuchEntityException:
            return None
        return f"{inputs['role']}:{inputs['name']}"

    def _policy(self, inputs: Inputs) -> str | None:
        path, name = inputs.get("path") or "/", inputs["name"]
        pages = self._iam.get_paginator("list_policies").paginate(Scope="Local", PathPrefix=path)
        policies = [policy for page in pages for policy in page["Policies"]]
        return next((str(p["Arn"]) for p in policies if p["PolicyName"] == name and p["Path"] == path), None)

    def _profile(self, inputs: Inputs) -> str | None:
        try:
            found = self._iam.get_instance_profile(InstanceProfileName=inputs["name"])
        except self._iam.exceptions.NoSuchEntityException:
            return None
        return str(found["InstanceProfile"]["InstanceProfileName"])

    def _instances(self, inputs: Inputs) -> Iterator[str]:
        tags = inputs.get("tags") or {}
        if NAME_TAG not in tags or TENANT_TAG not in tags:
            return
        filters = [{"Name": f"tag:{tag}", "Values": [tags[tag]]} for tag in (TENANT_TAG, NAME_TAG)]
        for reservation in self._ec2.describe_instances(Filters=filters)["Reservations"]:
            for instance in reservation["Instances"]:
                if instance["State"]["Name"] not in GONE_STATES:
                    yield str(instance["InstanceId"])

    def _attachment(self, inputs: Inputs) -> str | None:
        device, volume, instance = inputs["deviceName"], inputs["volumeId"], inputs["instanceId"]
        for found in self._list("describe_volumes", "Volumes", {"VolumeIds": [volume]}):
            for attachment in found.get("Attachments") or []:
                if (attachment["Device"], attachment["InstanceId"]) == (device, instance):
                    return attachment_id(device, volume, instance)
        return None

    def _keys(self, inputs: Inputs) -> Iterator[str]:
        """Find living keys by their tags; KMS can be asked for the tags of one key at a time only."""
        wanted = {tag: (inputs.get("tags") or {}).get(tag) for tag in (TENANT_TAG, NAME_TAG)}
        if None in wanted.values():
            return
        for page in self._kms.get_paginator("list_keys").paginate():
            for entry in page["Keys"]:
                key = {"KeyId": entry["KeyId"]}
                found = key_tags(self._kms, entry["KeyId"])
                is_ours = {tag: found.get(tag) for tag in wanted} == wanted
                if is_ours and self._kms.describe_key(**key)["KeyMetadata"]["KeyState"] != "PendingDeletion":
                    yield str(entry["KeyId"])

    def _bucket(self, inputs: Inputs) -> str | None:
        """Return the bucket's name where it is ours; so is a setting, since setting it twice does no harm."""
        names = {bucket["Name"] for bucket in self._s3.list_buckets()["Buckets"]}
        return str(inputs["bucket"]) if inputs["bucket"] in names else None

    def _alias(self, inputs: Inputs) -> str | None:
        pages = self._kms.get_paginator("list_aliases").paginate()
        names = {alias["AliasName"] for page in pages for alias in page["Aliases"]}
        return str(inputs["name"]) if inputs["name"] in names else None

    def _tables(self, **which: object) -> list[dict[str, Any]]:
        return self._list("describe_route_tables", "RouteTables", which)

    def _acls(self, acl: str) -> list[dict[str, Any]]:
        return self._list("describe_network_acls", "NetworkAcls", {"NetworkAclIds": [acl]})

    def _list(self, operation: str, key: str, which: Mapping[str, object]) -> list[dict[str, Any]]:
        """Return what matches; a parent that is gone took its children with it."""
        try:
            return list(getattr(self._ec2, operation)(**which)[key])
        except self._ec2.exceptions.ClientError as exc:
            if str(exc.response["Error"]["Code"]).endswith(".NotFound"):
                return []
            raise


def route_id(route_table: str, destination: str) -> str:
    """Return the id that the AWS provider gives a route (AWS has none): table and CRC-32 of the destination."""
    return f"r-{route_table}{crc32(destination.encode())}"


def acl_entry_id(acl: str, number: int, protocol: str, *, egress: bool) -> str:
    """Return the id that the AWS provider gives an ACL entry (AWS has none): CRC-32 over its key."""
    return f"nacl-{crc32(f'{acl}-{number}-{str(egress).lower()}-{protocol}-'.encode())}"


def attachment_id(device: str, volume: str, instance: str) -> str:
    """Return the id that the AWS provider gives an attachment (AWS has none): CRC-32 over its key."""
    return f"vai-{crc32(f'{device}-{instance}-{volume}-'.encode())}"
