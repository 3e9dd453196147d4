"""The table: a VPC, its subnets, and what leads out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutx_sandbox.aws.ec2 import COMMON, OWNER, arn, described, filters
from mutx_sandbox.aws.resource import Call, Create, Describe, ResourceType, Update, Wait
from mutx_sandbox.aws.tags import ec2_tagging
from mutx_sandbox.bridge.properties import Kind, Output, boolean, document, string, strings
from mutx_sandbox.bridge.values import Properties

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

_VPC_ATTRIBUTES = {
    "enableDnsSupport": True,
    "enableDnsHostnames": False,
    "enableNetworkAddressUsageMetrics": False,
}
"""Attributes that CreateVpc does not take, with the values AWS starts a VPC with."""


def _extend_vpc(work: Work, item: Properties, new: bool) -> Properties:
    """Add the attributes and the ids of the default group, ACL and route table, as the official provider reads them."""
    extended = dict(item)
    for attribute, initial in _VPC_ATTRIBUTES.items():
        name = attribute[:1].upper() + attribute[1:]
        extended[name] = (
            initial
            if new
            else work.call("DescribeVpcAttribute", {"VpcId": work.id, "Attribute": attribute})[name]["Value"]
        )
    in_vpc = {"vpc-id": work.id}
    groups = work.call("DescribeSecurityGroups", filters({**in_vpc, "group-name": "default"}))[
        "SecurityGroups"
    ]
    acls = work.call("DescribeNetworkAcls", filters({**in_vpc, "default": "true"}))["NetworkAcls"]
    tables = work.call("DescribeRouteTables", filters({**in_vpc, "association.main": "true"}))["RouteTables"]
    extended["DefaultGroup"] = groups[0]["GroupId"] if groups else None
    extended["DefaultAcl"] = acls[0]["NetworkAclId"] if acls else None
    extended["MainTable"] = tables[0]["RouteTableId"] if tables else None
    return extended


def _attribute(operation: str, owner: str, name: str) -> Update:
    member = name[:1].upper() + name[1:]
    return Update(frozenset({name}), Call(operation, {owner: "$id", member: {"Value": f"${name}"}}))


VPC = ResourceType(
    name="aws:ec2/vpc:Vpc",
    service="ec2",
    properties={
        **COMMON,
        "cidrBlock": string(replaces=True, computed=True),
        "instanceTenancy": string(replaces=True, default="default"),
        "enableDnsSupport": boolean(api=None, item="EnableDnsSupport", default=True),
        "enableDnsHostnames": boolean(api=None, item="EnableDnsHostnames", computed=True),
        "enableNetworkAddressUsageMetrics": boolean(
            api=None, item="EnableNetworkAddressUsageMetrics", computed=True
        ),
    },
    outputs={
        **OWNER,
        "arn": arn("vpc/$id"),
        "dhcpOptionsId": Output(item="DhcpOptionsId"),
        "defaultNetworkAclId": Output(item="DefaultAcl"),
        "defaultRouteTableId": Output(item="MainTable"),
        "mainRouteTableId": Output(item="MainTable"),
        "defaultSecurityGroupId": Output(item="DefaultGroup"),
        "ipv6AssociationId": Output(item="Ipv6CidrBlockAssociationSet[0].AssociationId"),
    },
    create=Create(operation="CreateVpc", item="Vpc"),
    describe=described("DescribeVpcs", "Vpcs", "VpcId", given="IsDefault"),
    extend=_extend_vpc,
    updates=tuple(_attribute("ModifyVpcAttribute", "VpcId", name) for name in _VPC_ATTRIBUTES),
    delete=(Call("DeleteVpc", {"VpcId": "$id"}),),
    tagging=ec2_tagging("vpc"),
)

_SUBNET_ATTRIBUTES = ("mapPublicIpOnLaunch", "assignIpv6AddressOnCreation")

SUBNET = ResourceType(
    name="aws:ec2/subnet:Subnet",
    service="ec2",
    properties={
        **COMMON,
        "vpcId": string(required=True, replaces=True),
        "cidrBlock": string(replaces=True),
        "availabilityZone": string(replaces=True, computed=True),
        "availabilityZoneId": string(replaces=True, computed=True),
        "mapPublicIpOnLaunch": boolean(api=None, item="MapPublicIpOnLaunch", default=False),
        "assignIpv6AddressOnCreation": boolean(api=None, item="AssignIpv6AddressOnCreation", default=False),
    },
    outputs={
        **OWNER,
        "arn": Output(item="SubnetArn"),
        "ipv6CidrBlockAssociationId": Output(item="Ipv6CidrBlockAssociationSet[0].AssociationId"),
    },
    create=Create(operation="CreateSubnet", item="Subnet"),
    describe=described("DescribeSubnets", "Subnets", "SubnetId", among={"vpc-id": "$vpcId"}),
    updates=tuple(_attribute("ModifySubnetAttribute", "SubnetId", name) for name in _SUBNET_ATTRIBUTES),
    delete=(Call("DeleteSubnet", {"SubnetId": "$id"}),),
    delete_timeout_s=1200,
    tagging=ec2_tagging("subnet"),
    unique_by=("vpcId", "cidrBlock"),
)


def _attach(work: Work) -> None:
    """Attach the gateway to the wanted VPC, detaching it from another one first."""
    before, wanted = work.state.get("vpcId"), work.inputs.get("vpcId")
    if before and before != wanted:
        work.call("DetachInternetGateway", {"InternetGatewayId": work.id, "VpcId": before}, _DETACHED)
    if wanted:
        work.call("AttachInternetGateway", {"InternetGatewayId": work.id, "VpcId": wanted}, _ATTACHED)


def _detach(work: Work) -> None:
    if work.state.get("vpcId"):
        work.call(
            "DetachInternetGateway", {"InternetGatewayId": work.id, "VpcId": work.state["vpcId"]}, _DETACHED
        )


_ATTACHED = frozenset({"Resource.AlreadyAssociated"})
_DETACHED = frozenset({"Gateway.NotAttached"})

INTERNET_GATEWAY = ResourceType(
    name="aws:ec2/internetGateway:InternetGateway",
    service="ec2",
    properties={**COMMON, "vpcId": string(api=None, item="Attachments[0].VpcId", computed=True)},
    outputs={**OWNER, "arn": arn("internet-gateway/$id")},
    create=Create(operation="CreateInternetGateway", item="InternetGateway"),
    describe=described("DescribeInternetGateways", "InternetGateways", "InternetGatewayId"),
    updates=(Update(frozenset({"vpcId"}), _attach),),
    delete=(_detach, Call("DeleteInternetGateway", {"InternetGatewayId": "$id"})),
    delete_timeout_s=1200,
    tagging=ec2_tagging("internet-gateway"),
)


def _address_request(inputs: Properties, request: Properties) -> Properties:
    return {"Domain": inputs.get("domain") or "vpc", **request}


def _extend_address(work: Work, item: Properties, _new: bool) -> Properties:
    """Add the public name, which AWS derives from the address and the region."""
    address = str(item.get("PublicIp", "")).replace(".", "-")
    domain = "compute-1" if work.region == "us-east-1" else f"{work.region}.compute"
    return {**item, "PublicDns": f"ec2-{address}.{domain}.amazonaws.com"}


ADDRESS = ResourceType(
    name="aws:ec2/eip:Eip",
    service="ec2",
    properties={
        **COMMON,
        "domain": string(replaces=True, computed=True),
        "networkBorderGroup": string(replaces=True, computed=True),
        "publicIpv4Pool": string(replaces=True, computed=True),
    },
    outputs={
        "allocationId": Output(item="AllocationId"),
        "arn": arn("elastic-ip/$id"),
        "associationId": Output(item="AssociationId"),
        "networkInterface": Output(item="NetworkInterfaceId"),
        "privateIp": Output(item="PrivateIpAddress"),
        "publicDns": Output(item="PublicDns"),
        "publicIp": Output(item="PublicIp"),
    },
    create=Create(operation="AllocateAddress", request=_address_request, id="AllocationId"),
    describe=described("DescribeAddresses", "Addresses", "AllocationId"),
    extend=_extend_address,
    delete=(Call("ReleaseAddress", {"AllocationId": "$id"}),),
    tagging=ec2_tagging("elastic-ip"),
    refused=dict.fromkeys(
        ("instance", "networkInterface", "associateWithPrivateIp", "address"),
        "associations of addresses are not in its table",
    ),
)

NAT_GATEWAY = ResourceType(
    name="aws:ec2/natGateway:NatGateway",
    service="ec2",
    properties={
        **COMMON,
        "subnetId": string(required=True, replaces=True),
        "allocationId": string(replaces=True, item="NatGatewayAddresses[0].AllocationId"),
        "connectivityType": string(replaces=True, item='ConnectivityType || `"public"`', default="public"),
        "privateIp": string(
            replaces=True, computed=True, api="PrivateIpAddress", item="NatGatewayAddresses[0].PrivateIp"
        ),
    },
    outputs={
        "associationId": Output(item="NatGatewayAddresses[0].AssociationId"),
        "networkInterfaceId": Output(item="NatGatewayAddresses[0].NetworkInterfaceId"),
        "publicIp": Output(item="NatGatewayAddresses[0].PublicIp"),
    },
    create=Create(operation="CreateNatGateway", item="NatGateway"),
    describe=Describe(
        operation="DescribeNatGateways",
        by={"NatGatewayIds": ["$id"]},
        items="NatGateways",
        identity="NatGatewayId",
        among={"Filter": [{"Name": "subnet-id", "Values": ["$subnetId"]}]},
        gone="State == 'deleted'",
    ),
    ready=Wait(path="State", until="available", failed=frozenset({"failed", "deleted"})),
    delete=(Call("DeleteNatGateway", {"NatGatewayId": "$id"}),),
    deleted=Wait(path="State", until="deleted"),
    delete_timeout_s=1800,
    tagging=ec2_tagging("natgateway"),
    unique_by=("allocationId",),
)


def _modify_endpoint(work: Work) -> None:
    """Send what is to be added to and removed from the endpoint's sets, and other changes, in one call."""
    request: Properties = {"VpcEndpointId": work.id}
    for name, member in _ENDPOINT_SETS.items():
        before, wanted = set(work.state.get(name) or []), set(work.inputs.get(name) or [])
        if name in work.inputs and wanted - before:
            request[f"Add{member}"] = sorted(wanted - before)
        if name in work.inputs and before - wanted:
            request[f"Remove{member}"] = sorted(before - wanted)
    if work.inputs.get("policy") is not None:
        request["PolicyDocument"] = work.inputs["policy"]
    if work.inputs.get("privateDnsEnabled") not in {None, work.state.get("privateDnsEnabled")}:
        request["PrivateDnsEnabled"] = work.inputs["privateDnsEnabled"]
    work.call("ModifyVpcEndpoint", request)


_ENDPOINT_SETS = {
    "routeTableIds": "RouteTableIds",
    "subnetIds": "SubnetIds",
    "securityGroupIds": "SecurityGroupIds",
}


def _extend_endpoint(work: Work, item: Properties, _new: bool) -> Properties:
    """Add the prefix list of a gateway endpoint's service: rules and routes name it."""
    if item.get("VpcEndpointType") != "Gateway":
        return item
    found = work.call("DescribePrefixLists", filters({"prefix-list-name": item["ServiceName"]}))[
        "PrefixLists"
    ]
    if not found:
        return item
    return {**item, "PrefixListId": found[0]["PrefixListId"], "CidrBlocks": found[0].get("Cidrs") or []}


VPC_ENDPOINT = ResourceType(
    name="aws:ec2/vpcEndpoint:VpcEndpoint",
    service="ec2",
    properties={
        **COMMON,
        "vpcId": string(required=True, replaces=True),
        "serviceName": string(required=True, replaces=True),
        # Sent always: moto cannot delete an endpoint that was made without a type.
        "vpcEndpointType": string(replaces=True, default="Gateway"),
        "routeTableIds": strings(computed=True),
        "subnetIds": strings(computed=True),
        "securityGroupIds": strings(computed=True, item="Groups[].GroupId"),
        "privateDnsEnabled": boolean(computed=True),
        "policy": document(computed=True, api="PolicyDocument"),
        "ipAddressType": string(computed=True),
    },
    outputs={
        **OWNER,
        "arn": arn("vpc-endpoint/$id"),
        "cidrBlocks": Output(item="CidrBlocks", kind=Kind.STRINGS),
        "dnsEntries": Output(item="DnsEntries", kind=Kind.STRINGS),
        "networkInterfaceIds": Output(item="NetworkInterfaceIds", kind=Kind.STRINGS),
        "prefixListId": Output(item="PrefixListId"),
        "requesterManaged": Output(item="RequesterManaged", kind=Kind.BOOLEAN),
        "state": Output(item="State"),
    },
    create=Create(operation="CreateVpcEndpoint", item="VpcEndpoint"),
    describe=described(
        "DescribeVpcEndpoints",
        "VpcEndpoints",
        "VpcEndpointId",
        among={"vpc-id": "$vpcId"},
        gone="State == 'deleted'",
    ),
    extend=_extend_endpoint,
    ready=Wait(path="State", until="available", failed=frozenset({"failed", "rejected", "expired"})),
    updates=(Update(frozenset({*_ENDPOINT_SETS, "policy", "privateDnsEnabled"}), _modify_endpoint),),
    delete=(Call("DeleteVpcEndpoints", {"VpcEndpointIds": ["$id"]}),),
    deleted=Wait(path="State", until="deleted"),
    delete_timeout_s=600,
    tagging=ec2_tagging("vpc-endpoint"),
)

TYPES = (VPC, SUBNET, INTERNET_GATEWAY, ADDRESS, NAT_GATEWAY, VPC_ENDPOINT)
