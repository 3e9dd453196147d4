"""Unrecorded resources, found by what made them; another tenant's are never taken. EC2 is moto, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mutx_infra.adapters.aws_lookup import AwsLookup, acl_entry_id, attachment_id, route_id
from mutx_infra.adapters.aws_session import AwsSession
from mutx_infra.environment import AwsEndpoint
from mutx_infra.naming import NAME_TAG, TENANT_TAG
from tests.support.specs import ACCOUNT

REGION = "eu-west-1"
_numbers = count()


@pytest.fixture(scope="module")
def cloud() -> Iterator[Any]:
    """One cloud for all: loading the API models takes 0.5 s. So each test has a tenant of its own."""
    with mock_aws():
        yield boto3.client("ec2", region_name=REGION)


@pytest.fixture
def tenant() -> str:
    return f"tenant-{next(_numbers)}"


@pytest.fixture(scope="module")
def lookup(cloud: Any) -> AwsLookup:
    return AwsLookup(AwsSession(AwsEndpoint(account_id=ACCOUNT)), REGION)


def tags(tenant: str, name: str = "the-vpc") -> dict[str, str]:
    return {TENANT_TAG: tenant, NAME_TAG: name}


def a_vpc(cloud: Any, tenant: str, *name: str) -> str:
    pairs = [{"Key": key, "Value": value} for key, value in tags(tenant, *name).items()]
    made = cloud.create_vpc(
        CidrBlock="10.0.0.0/24", TagSpecifications=[{"ResourceType": "vpc", "Tags": pairs}]
    )
    return str(made["Vpc"]["VpcId"])


def test_a_tagged_resource_is_found_by_tenant_and_name(cloud: Any, lookup: AwsLookup, tenant: str) -> None:
    a_vpc(cloud, f"not-{tenant}")
    a_vpc(cloud, tenant, "other-vpc")
    wanted = a_vpc(cloud, tenant)

    assert lookup.find("aws:ec2/vpc:Vpc", {"tags": tags(tenant)}, besides=()) == wanted
    assert lookup.find("aws:ec2/vpc:Vpc", {"tags": tags(tenant)}, besides={wanted}) is None


@pytest.mark.parametrize("inputs", [{}, {"tags": {}}, {"tags": {NAME_TAG: "the-vpc"}}], ids=str)
def test_without_both_tags_nothing_is_taken(
    cloud: Any, lookup: AwsLookup, tenant: str, inputs: dict[str, Any]
) -> None:
    a_vpc(cloud, tenant)

    assert lookup.find("aws:ec2/vpc:Vpc", inputs, besides=()) is None


def test_a_gateway_that_is_gone_is_not_adopted(cloud: Any, lookup: AwsLookup, tenant: str) -> None:
    subnet = cloud.create_subnet(VpcId=a_vpc(cloud, tenant), CidrBlock="10.0.0.0/28")["Subnet"]["SubnetId"]
    pairs = [{"Key": key, "Value": value} for key, value in tags(tenant, "nat-a").items()]
    nat = cloud.create_nat_gateway(
        SubnetId=subnet,
        ConnectivityType="private",
        TagSpecifications=[{"ResourceType": "natgateway", "Tags": pairs}],
    )["NatGateway"]["NatGatewayId"]
    kind, inputs = "aws:ec2/natGateway:NatGateway", {"tags": tags(tenant, "nat-a")}
    assert lookup.find(kind, inputs, besides=()) == nat

    cloud.delete_nat_gateway(NatGatewayId=nat)

    assert lookup.find(kind, inputs, besides=()) is None


def test_a_route_is_found_under_its_table(cloud: Any, lookup: AwsLookup, tenant: str) -> None:
    vpc = a_vpc(cloud, tenant)
    gateway = cloud.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    cloud.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = cloud.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    kind, inputs = "aws:ec2/route:Route", {"routeTableId": table, "destinationCidrBlock": "0.0.0.0/0"}
    assert lookup.find(kind, inputs, besides=()) is None

    cloud.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)

    assert lookup.find(kind, inputs, besides=()) == route_id(table, "0.0.0.0/0")


def test_an_association_is_found_with_its_own_table_only(cloud: Any, lookup: AwsLookup, tenant: str) -> None:
    vpc = a_vpc(cloud, tenant)
    subnet = cloud.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/28")["Subnet"]["SubnetId"]
    mine, other = (cloud.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(2))
    made = cloud.associate_route_table(RouteTableId=mine, SubnetId=subnet)["AssociationId"]
    kind = "aws:ec2/routeTableAssociation:RouteTableAssociation"

    assert lookup.find(kind, {"routeTableId": mine, "subnetId": subnet}, besides=()) == made
    assert lookup.find(kind, {"routeTableId": other, "subnetId": subnet}, besides=()) is None


def test_acl_entries_and_associations_are_found(cloud: Any, lookup: AwsLookup, tenant: str) -> None:
    vpc = a_vpc(cloud, tenant)
    subnet = cloud.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/28")["Subnet"]["SubnetId"]
    acl = cloud.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    entry = {"networkAclId": acl, "ruleNumber": 100, "egress": True, "protocol": "tcp"}
    rule, association = (
        "aws:ec2/networkAclRule:NetworkAclRule",
        "aws:ec2/networkAclAssociation:NetworkAclAssociation",
    )
    assert lookup.find(rule, entry, besides=()) is None
    assert lookup.find(association, {"networkAclId": acl, "subnetId": subnet}, besides=()) is None

    cloud.create_network_acl_entry(
        NetworkAclId=acl,
        RuleNumber=100,
        Egress=True,
        Protocol="6",
        RuleAction="allow",
        CidrBlock="10.0.0.0/28",
    )
    held = cloud.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])
    old = held["NetworkAcls"][0]["Associations"][0]["NetworkAclAssociationId"]
    new = cloud.replace_network_acl_association(AssociationId=old, NetworkAclId=acl)["NewAssociationId"]

    assert lookup.find(rule, entry, besides=()) == acl_entry_id(acl, 100, "tcp", egress=True)
    assert lookup.find(rule, {**entry, "egress": False}, besides=()) is None
    assert lookup.find(association, {"networkAclId": acl, "subnetId": subnet}, besides=()) == new


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("aws:ec2/route:Route", {"routeTableId": "rtb-00000000", "destinationCidrBlock": "0.0.0.0/0"}),
        ("aws:ec2/networkAclRule:NetworkAclRule",
         {"networkAclId": "acl-00000000", "ruleNumber": 1, "protocol": "tcp"}),
        ("aws:iam/role:Role", {"name": "nobody"}),
        ("aws:iam/rolePolicy:RolePolicy", {"role": "nobody", "name": "grant"}),
        ("aws:cloudwatch/logGroup:LogGroup", {"name": "/nowhere"}),
    ],
)  # fmt: skip
def test_what_never_was_is_not_found(lookup: AwsLookup, kind: str, inputs: dict[str, Any]) -> None:
    assert lookup.find(kind, inputs, besides=()) is None


def test_named_resources_are_found_by_their_whole_name(cloud: Any, lookup: AwsLookup, tenant: str) -> None:
    logs, iam = boto3.client("logs", region_name=REGION), boto3.client("iam", region_name=REGION)
    logs.create_log_group(logGroupName="/mutx/acme/flow-more")
    iam.create_role(RoleName="acme-flow", AssumeRolePolicyDocument="{}")
    allow = {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName="acme-flow", PolicyName="grant", PolicyDocument=policy)

    assert lookup.find("aws:cloudwatch/logGroup:LogGroup", {"name": "/mutx/acme/flow"}, besides=()) is None
    assert lookup.find("aws:iam/role:Role", {"name": "acme-flow"}, besides=()) == "acme-flow"
    grant = {"role": "acme-flow", "name": "grant"}
    assert lookup.find("aws:iam/rolePolicy:RolePolicy", grant, besides=()) == "acme-flow:grant"


def test_a_half_made_security_group_loses_the_rule_that_aws_gave_it(
    cloud: Any, lookup: AwsLookup, tenant: str
) -> None:
    group = cloud.create_security_group(GroupName="g", Description="d", VpcId=a_vpc(cloud, tenant))["GroupId"]

    for _ in range(2):
        lookup.complete("aws:ec2/securityGroup:SecurityGroup", group)

    found = cloud.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert found["IpPermissionsEgress"] == []


def test_every_type_of_the_program_can_be_looked_up(lookup: AwsLookup) -> None:
    from tests.unit.test_stack_program import plan_of, register  # noqa: PLC0415 - 1 s that the others need not pay

    kinds = {made.typ for made in register(plan_of("dedicated", "abc")).made if made.typ.startswith("aws:")}

    assert len(kinds) >= 20
    assert [kind for kind in kinds if not lookup.knows(kind)] == []


def a_launch(cloud: Any, tenant: str) -> tuple[str, str]:
    """An instance and a volume that carry the tags."""
    pairs = [{"Key": key, "Value": value} for key, value in tags(tenant, "host").items()]
    kinds = [{"ResourceType": "instance", "Tags": pairs}]
    instance = cloud.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, TagSpecifications=kinds)
    zone = instance["Instances"][0]["Placement"]["AvailabilityZone"]
    volume = cloud.create_volume(
        AvailabilityZone=zone, Size=1, TagSpecifications=[{"ResourceType": "volume", "Tags": pairs}]
    )
    return str(instance["Instances"][0]["InstanceId"]), str(volume["VolumeId"])


def test_a_host_is_found_unless_it_ends_or_is_known(cloud: Any, lookup: AwsLookup, tenant: str) -> None:
    kind, inputs = "aws:ec2/instance:Instance", {"tags": tags(tenant, "host")}
    older, _ = a_launch(cloud, tenant)
    newer, _ = a_launch(cloud, tenant)

    assert lookup.find(kind, inputs, besides={older}) == newer
    cloud.terminate_instances(InstanceIds=[newer])
    assert lookup.find(kind, inputs, besides={older}) is None
    assert lookup.find(kind, {"tags": {}}, besides=()) is None


def test_an_attachment_has_the_provider_s_id(cloud: Any, lookup: AwsLookup, tenant: str) -> None:
    instance, volume = a_launch(cloud, tenant)
    kind = "aws:ec2/volumeAttachment:VolumeAttachment"
    inputs = {"deviceName": "/dev/sdf", "volumeId": volume, "instanceId": instance}
    assert lookup.find(kind, inputs, besides=()) is None

    cloud.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")

    assert lookup.find(kind, inputs, besides=()) == attachment_id("/dev/sdf", volume, instance)


def test_a_key_is_found_by_its_tags_while_it_lives(cloud: Any, lookup: AwsLookup, tenant: str) -> None:
    kms = boto3.client("kms", region_name=REGION)
    pairs = [{"TagKey": key, "TagValue": value} for key, value in tags(tenant, "key").items()]
    older, newer = (kms.create_key(Tags=pairs)["KeyMetadata"]["KeyId"] for _ in range(2))
    kind, inputs = "aws:kms/key:Key", {"tags": tags(tenant, "key")}

    assert lookup.find(kind, inputs, besides={older}) == newer
    kms.schedule_key_deletion(KeyId=newer, PendingWindowInDays=7)
    assert lookup.find(kind, inputs, besides={older}) is None
    assert lookup.find(kind, {"tags": {NAME_TAG: "key"}}, besides=()) is None


def test_alias_policy_and_profile_are_found_by_name(cloud: Any, lookup: AwsLookup, tenant: str) -> None:
    kms, iam = boto3.client("kms", region_name=REGION), boto3.client("iam", region_name=REGION)
    alias, path = f"alias/mutx/{tenant}/logs", f"/mutx/{tenant}/"
    wanted = {
        "aws:kms/alias:Alias": {"name": alias},
        "aws:iam/policy:Policy": {"name": tenant, "path": path},
        "aws:iam/instanceProfile:InstanceProfile": {"name": tenant},
    }
    before = {kind: lookup.find(kind, inputs, besides=()) for kind, inputs in wanted.items()}

    kms.create_alias(AliasName=alias, TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    policy = iam.create_policy(
        PolicyName=tenant,
        Path=path,
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
        ),
    )["Policy"]["Arn"]
    iam.create_instance_profile(InstanceProfileName=tenant)

    assert before == dict.fromkeys(wanted)
    assert {kind: lookup.find(kind, inputs, besides=()) for kind, inputs in wanted.items()} == {
        "aws:kms/alias:Alias": alias,
        "aws:iam/policy:Policy": policy,
        "aws:iam/instanceProfile:InstanceProfile": tenant,
    }
