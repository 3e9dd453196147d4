"""What moto is corrected in, shown by plain boto3: each test says what AWS does."""

from __future__ import annotations

import time
from ipaddress import IPv4Network
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.integration


@pytest.fixture
def vpc(ec2: Any) -> str:
    return ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]


@pytest.fixture
def logs(boto: Any) -> Any:
    return boto("logs")


@pytest.fixture
def group(ec2: Any, vpc: str) -> str:
    return ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]


@pytest.fixture
def subnet(ec2: Any, vpc: str) -> str:
    return ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]


def code_of(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"]


@pytest.mark.parametrize("source", ["group", "prefix list"])
def test_a_rule_has_its_description_whatever_its_source(ec2, group, source):
    sources = {
        "group": {"UserIdGroupPairs": [{"GroupId": group, "Description": "why"}]},
        "prefix list": {"PrefixListIds": [{"PrefixListId": "pl-1", "Description": "why"}]},
    }
    permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, **sources[source]}

    made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])[
        "SecurityGroupRules"
    ]

    assert made[0]["Description"] == "why"


def test_a_rule_from_a_group_can_be_modified(ec2, group):
    permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "UserIdGroupPairs": [{"GroupId": group}]}
    made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])[
        "SecurityGroupRules"
    ][0]
    wanted = {
        "IpProtocol": "udp",
        "FromPort": 3,
        "ToPort": 4,
        "ReferencedGroupId": group,
        "Description": "new",
    }

    ec2.modify_security_group_rules(
        GroupId=group,
        SecurityGroupRules=[
            {"SecurityGroupRuleId": made["SecurityGroupRuleId"], "SecurityGroupRule": wanted}
        ],
    )

    read = ec2.describe_security_group_rules(SecurityGroupRuleIds=[made["SecurityGroupRuleId"]])
    rule = read["SecurityGroupRules"][0]
    assert (rule["IpProtocol"], rule["FromPort"], rule["Description"]) == ("udp", 3, "new")
    assert rule["ReferencedGroupInfo"]["GroupId"] == group


def test_members_of_a_new_vpcs_default_group_reach_each_other(ec2, vpc):
    wanted = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": ["default"]}]

    default = ec2.describe_security_groups(Filters=wanted)["SecurityGroups"][0]

    assert default["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == default["GroupId"]


def test_an_unknown_nat_gateway_is_said_to_be_unknown(ec2):
    assert code_of(lambda: ec2.delete_nat_gateway(NatGatewayId="nat-1")) == "NatGatewayNotFound"
    assert code_of(lambda: ec2.describe_nat_gateways(NatGatewayIds=["nat-1"])) == "NatGatewayNotFound"


def test_a_deleted_nat_gateway_lets_its_address_and_interface_go(ec2, subnet):
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]

    ec2.delete_nat_gateway(NatGatewayId=gateway)

    assert not ec2.describe_addresses(AllocationIds=[address])["Addresses"][0].get("AssociationId")
    in_subnet = [{"Name": "subnet-id", "Values": [subnet]}]
    assert ec2.describe_network_interfaces(Filters=in_subnet)["NetworkInterfaces"] == []


def test_an_unknown_acl_entry_is_said_to_be_unknown(ec2, vpc):
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]

    found = code_of(lambda: ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=5, Egress=True))

    assert found == "InvalidNetworkAclEntry.NotFound"
    assert (
        code_of(lambda: ec2.describe_network_acls(NetworkAclIds=["acl-1"])) == "InvalidNetworkAclID.NotFound"
    )


def test_an_acl_entry_keeps_its_icmp_type(ec2, vpc):
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]

    ec2.create_network_acl_entry(
        NetworkAclId=acl,
        RuleNumber=1,
        Egress=False,
        Protocol="1",
        RuleAction="allow",
        CidrBlock="10.0.0.0/8",
        IcmpTypeCode={"Type": 3, "Code": 4},
    )

    entry = ec2.describe_network_acls(NetworkAclIds=[acl])["NetworkAcls"][0]["Entries"][0]
    assert entry["IcmpTypeCode"] == {"Type": 3, "Code": 4}


def test_a_table_that_joins_a_gateway_endpoint_gets_its_route(ec2, vpc):
    first = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    second = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    service = {"VpcId": vpc, "ServiceName": "com.amazonaws.eu-west-1.s3", "VpcEndpointType": "Gateway"}
    endpoint = ec2.create_vpc_endpoint(**service, RouteTableIds=[first])["VpcEndpoint"]["VpcEndpointId"]

    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, AddRouteTableIds=[second], RemoveRouteTableIds=[first])

    def targets(table: str) -> list[str]:
        routes = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
        return [route["GatewayId"] for route in routes if "DestinationPrefixListId" in route]

    assert (targets(first), targets(second)) == ([], [endpoint])


def test_an_endpoint_without_a_type_is_a_gateway_and_can_be_deleted(ec2, vpc):
    made = ec2.create_vpc_endpoint(VpcId=vpc, ServiceName="com.amazonaws.eu-west-1.s3")["VpcEndpoint"]

    assert made["VpcEndpointType"] == "Gateway"
    assert ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])["Unsuccessful"] == []


@pytest.fixture
def template(ec2: Any) -> str:
    """A launch template that says everything: image by parameter, metadata options, root volume, tags."""
    root = {"Encrypted": True, "VolumeSize": 20, "VolumeType": "gp3", "DeleteOnTermination": True}
    made = ec2.create_launch_template(
        LaunchTemplateName=f"t-{uuid4().hex}",
        LaunchTemplateData={
            "ImageId": "resolve:ssm:/mutx/images/base",
            "InstanceType": "t3.small",
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": root}],
            "TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "root"}]}],
        },
    )
    return made["LaunchTemplate"]["LaunchTemplateId"]


def start(ec2: Any, subnet: str, template: str, **more: Any) -> dict[str, Any]:
    wanted = {"LaunchTemplateId": template, "Version": "$Latest"}
    return ec2.run_instances(MinCount=1, MaxCount=1, SubnetId=subnet, LaunchTemplate=wanted, **more)[
        "Instances"
    ][0]


def test_an_instance_starts_as_its_template_says(ec2, subnet, template):
    instance = start(ec2, subnet, template)

    volumes = ec2.describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
    )["Volumes"]
    assert instance["ImageId"].startswith("ami-")
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert [(v["Encrypted"], v["Size"], v["Attachments"][0]["Device"]) for v in volumes] == [
        (True, 20, "/dev/xvda")
    ]
    assert volumes[0]["Tags"] == [{"Key": "Name", "Value": "root"}]


def test_an_image_parameter_that_does_not_exist_is_refused(ec2, subnet):
    made = ec2.create_launch_template(
        LaunchTemplateName=f"t-{uuid4().hex}", LaunchTemplateData={"ImageId": "resolve:ssm:/nowhere"}
    )["LaunchTemplate"]["LaunchTemplateId"]

    assert code_of(lambda: start(ec2, subnet, made)) == "InvalidParameterValue"


def test_an_address_has_one_instance_and_is_free_when_that_is_terminated(ec2, subnet, template):
    cidr = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["CidrBlock"]
    address = str(IPv4Network(cidr)[9])
    first = start(ec2, subnet, template, PrivateIpAddress=address)

    assert code_of(lambda: start(ec2, subnet, template, PrivateIpAddress=address)) == "InvalidIPAddress.InUse"
    ec2.terminate_instances(InstanceIds=[first["InstanceId"]])
    held = ec2.describe_network_interfaces(Filters=[{"Name": "subnet-id", "Values": [subnet]}])
    assert address not in str(held)
    assert start(ec2, subnet, template, PrivateIpAddress=address)["PrivateIpAddress"] == address


def test_a_launch_template_shows_its_tags_as_they_are(ec2, template):
    ec2.create_tags(Resources=[template], Tags=[{"Key": "a", "Value": "b"}])

    found = ec2.describe_launch_templates(LaunchTemplateIds=[template])["LaunchTemplates"][0]

    assert {"Key": "a", "Value": "b"} in found["Tags"]


def test_the_events_of_a_log_group_are_sorted_over_its_streams(logs):
    group = f"g-{uuid4().hex}"
    now = int(time.time() * 1000)
    logs.create_log_group(logGroupName=group)
    for stream, offsets in (("a", (0, 20)), ("b", (10, 30))):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        events = [{"timestamp": now + offset, "message": str(offset)} for offset in offsets]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, limit=1)

    assert [event["message"] for page in pages for event in page["events"]] == ["0", "10", "20", "30"]
