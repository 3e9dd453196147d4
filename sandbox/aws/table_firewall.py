"""The table: security groups and their rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutx_sandbox.aws.ec2 import COMMON, OWNER, arn, described, filters
from mutx_sandbox.aws.resource import Call, Create, Describe, Naming, ResourceType, Update
from mutx_sandbox.aws.shapes import upper_camel
from mutx_sandbox.aws.tags import add_ec2_tags, ec2_tagging
from mutx_sandbox.bridge.properties import Kind, Output, Property, boolean, integer, string
from mutx_sandbox.bridge.values import Properties, Value

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

ALL_PROTOCOLS = "-1"
_PROTOCOLS = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": ALL_PROTOCOLS}
_SOURCES = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
_ALREADY_REVOKED = frozenset({"InvalidPermission.NotFound", "InvalidSecurityGroupRuleId.NotFound"})
_RULE_RESOURCES = (
    "declare aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule and "
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule resources instead"
)


def protocol_name(value: Value) -> str:
    """Return EC2's word for a protocol given by name or number: `6` is `tcp`, `all` is `-1`."""
    text = str(value).lower()
    return _PROTOCOLS.get(text, text)


def _revoke_default_egress(work: Work) -> None:
    """Take away the rule that AWS gives every new group: all traffic out. The official provider does so too."""
    anywhere = {"IpProtocol": ALL_PROTOCOLS, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    work.call(
        "RevokeSecurityGroupEgress",
        {"GroupId": work.id, "IpPermissions": [anywhere]},
        _ALREADY_REVOKED,
    )


def _revoke_all(work: Work) -> None:
    rules = work.call("DescribeSecurityGroupRules", filters({"group-id": work.id}))["SecurityGroupRules"]
    for operation, egress in (("RevokeSecurityGroupIngress", False), ("RevokeSecurityGroupEgress", True)):
        doomed = [rule["SecurityGroupRuleId"] for rule in rules if rule["IsEgress"] is egress]
        if doomed:
            work.call(operation, {"GroupId": work.id, "SecurityGroupRuleIds": doomed}, _ALREADY_REVOKED)


def _revoke_if_asked(work: Work) -> None:
    if work.state.get("revokeRulesOnDelete"):
        _revoke_all(work)


_GROUPS = described("DescribeSecurityGroups", "SecurityGroups", "GroupId", among={"vpc-id": "$vpcId"})

SECURITY_GROUP = ResourceType(
    name="aws:ec2/securityGroup:SecurityGroup",
    service="ec2",
    properties={
        **COMMON,
        "name": string(replaces=True, api="GroupName"),
        "namePrefix": string(replaces=True, api=None, item=None),
        "description": string(replaces=True, default="Managed by Pulumi"),
        "vpcId": string(required=True, replaces=True),
        "revokeRulesOnDelete": boolean(api=None, item=None, default=False),
    },
    outputs={**OWNER, "arn": arn("security-group/$id")},
    # The response has no more than id and ARN, and the inputs say the rest.
    create=Create(
        operation="CreateSecurityGroup",
        id="GroupId",
        echoes=True,
        constants={"OwnerId": "$account"},
        finish=_revoke_default_egress,
    ),
    describe=_GROUPS,
    delete=(_revoke_if_asked, Call("DeleteSecurityGroup", {"GroupId": "$id"})),
    delete_timeout_s=900,
    tagging=ec2_tagging("security-group"),
    naming=Naming(longest=255),
    unique_by=("vpcId", "name"),
    refused={"ingress": _RULE_RESOURCES, "egress": _RULE_RESOURCES},
)


def _adopt_default_group(work: Work) -> Properties:
    """Find the group that AWS made with the VPC and take its rules away."""
    by = filters({"vpc-id": work.inputs["vpcId"], "group-name": "default"})
    group: Properties = work.call("DescribeSecurityGroups", by)["SecurityGroups"][0]
    work.id = group["GroupId"]
    _revoke_all(work)
    if work.inputs.get("tags"):
        add_ec2_tags(work, work.inputs["tags"])
    return {"GroupId": work.id}


def _extend_default_group(_work: Work, item: Properties, _new: bool) -> Properties:
    """Add the rules in the shape of the `ingress` and `egress` properties."""
    return {
        **item,
        "Ingress": _inline_rules(item.get("IpPermissions") or [], item["GroupId"]),
        "Egress": _inline_rules(item.get("IpPermissionsEgress") or [], item["GroupId"]),
    }


def _inline_rules(permissions: list[Properties], own_id: str) -> list[Properties]:
    rules = []
    for permission in permissions:
        groups = [pair["GroupId"] for pair in permission.get("UserIdGroupPairs") or []]
        rules.append(
            {
                "protocol": permission["IpProtocol"],
                "fromPort": permission.get("FromPort", 0),
                "toPort": permission.get("ToPort", 0),
                "cidrBlocks": [entry["CidrIp"] for entry in permission.get("IpRanges") or []],
                "ipv6CidrBlocks": [entry["CidrIpv6"] for entry in permission.get("Ipv6Ranges") or []],
                "prefixListIds": [entry["PrefixListId"] for entry in permission.get("PrefixListIds") or []],
                "securityGroups": [group for group in groups if group != own_id],
                "self": own_id in groups,
            }
        )
    return rules


def _only_empty(inputs: Properties) -> list[tuple[str, str]]:
    return [
        (name, f"the default group can only be emptied here; {_RULE_RESOURCES}")
        for name in ("ingress", "egress")
        if inputs.get(name)
    ]


DEFAULT_SECURITY_GROUP = ResourceType(
    name="aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    service="ec2",
    properties={
        **COMMON,
        "vpcId": string(required=True, replaces=True),
        "ingress": Property(kind=Kind.OBJECTS, api=None, item="Ingress", computed=True),
        "egress": Property(kind=Kind.OBJECTS, api=None, item="Egress", computed=True),
        "revokeRulesOnDelete": boolean(api=None, item=None, default=False),
    },
    outputs={
        **OWNER,
        "arn": arn("security-group/$id"),
        "name": Output(item="GroupName"),
        "description": Output(item="Description"),
    },
    create=Create(operation=_adopt_default_group, id="GroupId", repeatable=True),
    describe=_GROUPS,
    extend=_extend_default_group,
    updates=(Update(frozenset({"ingress", "egress"}), _revoke_all),),
    # The default group goes with its VPC and cannot be deleted; the official provider only forgets it.
    delete=(),
    tagging=ec2_tagging("security-group"),
    validate=_only_empty,
)


def _permission_request(inputs: Properties, _request: Properties) -> Properties:
    """Say a single rule as the list of permissions that the API takes."""
    described = {"Description": inputs["description"]} if inputs.get("description") else {}
    permission: Properties = {
        "IpProtocol": inputs["ipProtocol"],
        "FromPort": inputs.get("fromPort"),
        "ToPort": inputs.get("toPort"),
    }
    for name, (member, key) in _PERMISSION_MEMBERS.items():
        if inputs.get(name):
            permission[member] = [{key: inputs[name], **described}]
    return {"GroupId": inputs["securityGroupId"], "IpPermissions": [permission]}


_PERMISSION_MEMBERS = {
    "cidrIpv4": ("IpRanges", "CidrIp"),
    "cidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "prefixListId": ("PrefixListIds", "PrefixListId"),
    "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId"),
}
_RULE_MEMBERS = ("ipProtocol", "fromPort", "toPort", "cidrIpv4", "cidrIpv6", "prefixListId", "description")


def _modify_rule(work: Work) -> None:
    rule = {upper_camel(name): work.inputs.get(name) for name in _RULE_MEMBERS}
    rule["ReferencedGroupId"] = work.inputs.get("referencedSecurityGroupId")
    work.call(
        "ModifySecurityGroupRules",
        {
            "GroupId": work.inputs["securityGroupId"],
            "SecurityGroupRules": [{"SecurityGroupRuleId": work.id, "SecurityGroupRule": rule}],
        },
    )


def _without_any_port(work: Work, item: Properties, _new: bool) -> Properties:
    """Leave out the port -1 that AWS reports where the program says none."""
    return {
        member: value
        for member, value in item.items()
        if not (member in {"FromPort", "ToPort"} and value == -1 and work.known.get(_lower(member)) is None)
    }


def _lower(member: str) -> str:
    return member[:1].lower() + member[1:]


def _other_source(old: Properties, new: Properties) -> frozenset[str]:
    """Name the sources when their kind changes: a rule cannot be modified from an address to a group."""
    before = {name for name in _SOURCES if old.get(name)}
    after = {name for name in _SOURCES if new.get(name)}
    return frozenset(before | after) if before and before != after else frozenset()


def _one_source(inputs: Properties) -> list[tuple[str, str]]:
    if sum(1 for name in _SOURCES if inputs.get(name)) != 1:
        return [("cidrIpv4", f"exactly one of {', '.join(_SOURCES)} is needed")]
    return []


def _rule(direction: str) -> ResourceType:
    egress = "true" if direction == "Egress" else "false"
    return ResourceType(
        name=f"aws:vpc/securityGroup{direction}Rule:SecurityGroup{direction}Rule",
        service="ec2",
        properties={
            **COMMON,
            "securityGroupId": string(required=True, replaces=True, api="GroupId"),
            "ipProtocol": string(required=True, normal=protocol_name),
            "fromPort": integer(),
            "toPort": integer(),
            "description": string(),
            **{name: string() for name in _SOURCES[:3]},
            "referencedSecurityGroupId": string(item="ReferencedGroupInfo.GroupId"),
        },
        outputs={
            "arn": arn("security-group-rule/$id"),
            "securityGroupRuleId": Output(item="SecurityGroupRuleId"),
        },
        create=Create(
            operation=f"AuthorizeSecurityGroup{direction}",
            request=_permission_request,
            item="SecurityGroupRules[0]",
        ),
        describe=Describe(
            operation="DescribeSecurityGroupRules",
            by={"SecurityGroupRuleIds": ["$id"]},
            items=f"SecurityGroupRules[?IsEgress==`{egress}`]",
            identity="SecurityGroupRuleId",
            among=filters({"group-id": "$securityGroupId"}),
        ),
        extend=_without_any_port,
        updates=(Update(frozenset({*_RULE_MEMBERS, "referencedSecurityGroupId"}), _modify_rule),),
        delete=(
            Call(
                f"RevokeSecurityGroup{direction}",
                {"GroupId": "$securityGroupId", "SecurityGroupRuleIds": ["$id"]},
            ),
        ),
        tagging=ec2_tagging("security-group-rule"),
        validate=_one_source,
        replaces_also=_other_source,
    )


TYPES = (SECURITY_GROUP, DEFAULT_SECURITY_GROUP, _rule("Ingress"), _rule("Egress"))
