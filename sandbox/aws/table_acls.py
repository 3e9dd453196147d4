"""The table: network ACLs, their entries, and which subnet has which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutx_sandbox.aws.ec2 import COMMON, OWNER, arn, described, filters
from mutx_sandbox.aws.ids import acl_rule_id
from mutx_sandbox.aws.resource import Call, Create, Describe, ResourceType
from mutx_sandbox.aws.tags import REGION, ec2_tagging
from mutx_sandbox.bridge.properties import boolean, integer, string
from mutx_sandbox.bridge.values import Properties, Value

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

_INLINE = "declare aws:ec2/networkAclRule:NetworkAclRule resources instead"
_PROTOCOL_NUMBERS = {"all": "-1", "icmp": "1", "tcp": "6", "udp": "17", "icmpv6": "58"}
_ICMP = frozenset({"1", "58"})
_IMPORT_PARTS = 4

NETWORK_ACL = ResourceType(
    name="aws:ec2/networkAcl:NetworkAcl",
    service="ec2",
    properties={**COMMON, "vpcId": string(required=True, replaces=True)},
    outputs={**OWNER, "arn": arn("network-acl/$id")},
    create=Create(operation="CreateNetworkAcl", item="NetworkAcl"),
    describe=described(
        "DescribeNetworkAcls", "NetworkAcls", "NetworkAclId", among={"vpc-id": "$vpcId"}, given="IsDefault"
    ),
    delete=(Call("DeleteNetworkAcl", {"NetworkAclId": "$id"}),),
    tagging=ec2_tagging("network-acl"),
    refused={
        "ingress": _INLINE,
        "egress": _INLINE,
        "subnetIds": "declare aws:ec2/networkAclAssociation:NetworkAclAssociation resources instead",
    },
)


def protocol_number(value: Value) -> str:
    """Return the number of a protocol given by name or number, as network ACLs speak of it."""
    text = str(value).lower()
    return _PROTOCOL_NUMBERS.get(text, text)


def _entry_request(inputs: Properties, request: Properties) -> Properties:
    """Number the protocol and send ports and ICMP type as zeros where the program says none, as the official one."""
    number = protocol_number(inputs["protocol"])
    request["Protocol"] = number
    request["PortRange"] = {"From": inputs.get("fromPort") or 0, "To": inputs.get("toPort") or 0}
    request.pop("IcmpTypeCode", None)
    if number in _ICMP:
        request["IcmpTypeCode"] = {"Type": inputs.get("icmpType") or 0, "Code": inputs.get("icmpCode") or 0}
    return request


def _parse_entry(text: str) -> Properties:
    parts = text.split(":")
    if len(parts) != _IMPORT_PARTS or not parts[1].isdigit() or parts[3] not in {"true", "false"}:
        raise ValueError(
            "an entry is imported as ACLID:NUMBER:PROTOCOL:EGRESS, e.g. acl-7aaabd18:100:tcp:false"
        )
    return {
        "networkAclId": parts[0],
        "ruleNumber": int(parts[1]),
        "protocol": parts[2],
        "egress": parts[3] == "true",
    }


def _validate_entry(inputs: Properties) -> list[tuple[str, str]]:
    failures = []
    if bool(inputs.get("cidrBlock")) == bool(inputs.get("ipv6CidrBlock")):
        failures.append(("cidrBlock", "exactly one of cidrBlock, ipv6CidrBlock is needed"))
    number = protocol_number(inputs["protocol"])
    if not number.removeprefix("-").isdigit():
        failures.append(
            ("protocol", f"{inputs['protocol']!r} is neither a protocol number nor one of its names")
        )
    return failures


NETWORK_ACL_RULE = ResourceType(
    name="aws:ec2/networkAclRule:NetworkAclRule",
    service="ec2",
    properties={
        "region": REGION,
        "networkAclId": string(required=True, replaces=True, item=None),
        "ruleNumber": integer(required=True, replaces=True),
        "egress": boolean(replaces=True, default=False),
        "protocol": string(required=True, replaces=True, normal=protocol_number),
        "ruleAction": string(required=True, replaces=True, normal=lambda value: str(value).lower()),
        "cidrBlock": string(replaces=True),
        "ipv6CidrBlock": string(replaces=True),
        "fromPort": integer(replaces=True, api="PortRange.From"),
        "toPort": integer(replaces=True, api="PortRange.To"),
        "icmpType": integer(replaces=True, api="IcmpTypeCode.Type"),
        "icmpCode": integer(replaces=True, api="IcmpTypeCode.Code"),
    },
    create=Create(operation="CreateNetworkAclEntry", request=_entry_request, echoes=True),
    describe=Describe(
        operation="DescribeNetworkAcls",
        by={"NetworkAclIds": ["$networkAclId"]},
        items="NetworkAcls[].Entries[]",
    ),
    keys=("ruleNumber", "egress"),
    make_id=lambda known: acl_rule_id(
        str(known["networkAclId"]),
        int(known["ruleNumber"]),
        egress=bool(known.get("egress")),
        protocol=str(known["protocol"]),
    ),
    parse_import=_parse_entry,
    delete=(
        Call(
            "DeleteNetworkAclEntry",
            {"NetworkAclId": "$networkAclId", "RuleNumber": "$ruleNumber", "Egress": "$egress"},
        ),
    ),
    validate=_validate_entry,
    unique_by=("networkAclId", "ruleNumber", "egress"),
)


def _put_on_acl(work: Work) -> Properties:
    """Replace the subnet's association, of which it always has exactly one."""
    subnet, wanted = work.inputs["subnetId"], work.inputs["networkAclId"]
    current = _association_of(work, subnet)
    if current["NetworkAclId"] == wanted:
        return {"NewAssociationId": current["NetworkAclAssociationId"]}
    return work.call_once(
        "ReplaceNetworkAclAssociation",
        {"AssociationId": current["NetworkAclAssociationId"], "NetworkAclId": wanted},
    )


def _put_on_default_acl(work: Work) -> None:
    """Give the subnet back to the default ACL of its VPC, unless it has moved elsewhere since."""
    acls = work.call("DescribeNetworkAcls", {"NetworkAclIds": [work.state["networkAclId"]]})["NetworkAcls"]
    if not any(entry["NetworkAclAssociationId"] == work.id for acl in acls for entry in acl["Associations"]):
        return
    by = filters({"vpc-id": acls[0]["VpcId"], "default": "true"})
    default = work.call("DescribeNetworkAcls", by)["NetworkAcls"][0]
    work.call(
        "ReplaceNetworkAclAssociation",
        {"AssociationId": work.id, "NetworkAclId": default["NetworkAclId"]},
        frozenset({"InvalidAssociationID.NotFound"}),
    )


def _association_of(work: Work, subnet: str) -> Properties:
    by = filters({"association.subnet-id": subnet})
    for acl in work.call("DescribeNetworkAcls", by)["NetworkAcls"]:
        for entry in acl["Associations"]:
            if entry["SubnetId"] == subnet:
                return dict(entry)
    return {"NetworkAclId": None, "NetworkAclAssociationId": None}


NETWORK_ACL_ASSOCIATION = ResourceType(
    name="aws:ec2/networkAclAssociation:NetworkAclAssociation",
    service="ec2",
    properties={
        "region": REGION,
        "networkAclId": string(required=True, replaces=True),
        "subnetId": string(required=True, replaces=True),
    },
    create=Create(operation=_put_on_acl, id="NewAssociationId", echoes=True),
    describe=Describe(
        operation="DescribeNetworkAcls",
        by=filters({"association.association-id": "$id"}),
        items="NetworkAcls[].Associations[]",
        identity="NetworkAclAssociationId",
        among={"NetworkAclIds": ["$networkAclId"]},
    ),
    delete=(_put_on_default_acl,),
    unique_by=("subnetId",),
)

TYPES = (NETWORK_ACL, NETWORK_ACL_RULE, NETWORK_ACL_ASSOCIATION)
