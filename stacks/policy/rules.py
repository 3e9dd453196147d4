"""The rules of the policy pack as plain functions over what a program asked for; the engine is not known here.

A resource rule sees one resource, a stack rule all of them. Each says what is wrong with a resource, in words that
name the property; what to do about it is the rule's remedy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from mutx_infra.addressing import Layer
from mutx_infra.naming import LAYER_TAG, NAME_TAG, TENANT_TAG

PLATFORM_TAG = "mutx:platform"
"""On what all tenants share, in place of the tenant's tag."""

PRIVATE = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
"""RFC 1918, RFC 6598 (the tailnet's addresses) and RFC 4193."""

Properties = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """What a program registers.

    Attributes:
        kind: Pulumi type token, e.g. `aws:ec2/vpc:Vpc`.
        properties: inputs, by Pulumi's property names.
        uses: urns of the resources that each property was made from.
    """

    kind: str
    name: str
    urn: str
    properties: Properties
    uses: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """A rule over one resource; `check` yields what is wrong."""

    name: str
    claim: str
    remedy: str
    check: Callable[[Resource], Iterator[str]]


@dataclass(frozen=True, slots=True)
class StackRule:
    """A rule over all resources of a stack; `check` yields whose fault it is, and what is wrong."""

    name: str
    claim: str
    remedy: str
    check: Callable[[Sequence[Resource]], Iterator[tuple[Resource, str]]]


def _world_ingress(resource: Resource) -> Iterator[str]:
    for place, cidr in _ingress_ranges(resource):
        if not _is_private(cidr):
            yield f"{place} admits {cidr}"


def _ingress_ranges(resource: Resource) -> Iterator[tuple[str, str]]:
    props = resource.properties
    if resource.kind == "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule":
        yield from ((name, props[name]) for name in ("cidrIpv4", "cidrIpv6") if props.get(name))
    elif resource.kind == "aws:ec2/securityGroupRule:SecurityGroupRule" and props.get("type") == "ingress":
        yield from _listed(props, "")
    elif resource.kind in {
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    }:
        for number, rule in enumerate(_items(props, "ingress")):
            yield from _listed(rule, f"ingress[{number}].")


def _listed(rule: Properties, prefix: str) -> Iterator[tuple[str, str]]:
    for name in ("cidrBlocks", "ipv6CidrBlocks"):
        yield from ((f"{prefix}{name}", cidr) for cidr in _items(rule, name))


def _is_private(cidr: str) -> bool:
    """Say whether every address of a range is private; two halves of the world are the world as well."""
    try:
        block = ip_network(str(cidr), strict=False)
    except ValueError:
        return False
    return any(_lies_in(block, private) for private in PRIVATE)


def _lies_in(block: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(block, IPv4Network):
        return isinstance(other, IPv4Network) and block.subnet_of(other)
    return isinstance(other, IPv6Network) and block.subnet_of(other)


_ENCRYPTED_BY: dict[str, tuple[str, ...]] = {
    "aws:ebs/volume:Volume": ("encrypted",),
    "aws:ebs/snapshotCopy:SnapshotCopy": ("encrypted",),
    "aws:rds/instance:Instance": ("storageEncrypted",),
    "aws:rds/cluster:Cluster": ("storageEncrypted",),
    "aws:efs/fileSystem:FileSystem": ("encrypted",),
    "aws:elasticache/replicationGroup:ReplicationGroup": (
        "atRestEncryptionEnabled",
        "transitEncryptionEnabled",
    ),
}
"""Properties that must be true. S3 buckets and DynamoDB tables are always encrypted by AWS since 2023."""

_INSTANCE, _TEMPLATE = "aws:ec2/instance:Instance", "aws:ec2/launchTemplate:LaunchTemplate"


def _unencrypted(resource: Resource) -> Iterator[str]:
    props = resource.properties
    for name in _ENCRYPTED_BY.get(resource.kind, ()):
        if not _is_true(props.get(name)):
            yield f"{name} is not true"
    if resource.kind == _INSTANCE and not props.get("launchTemplate"):
        if not _is_true((props.get("rootBlockDevice") or {}).get("encrypted")):
            yield "rootBlockDevice.encrypted is not true"
        for number, device in enumerate(_items(props, "ebsBlockDevices")):
            if not _is_true(device.get("encrypted")):
                yield f"ebsBlockDevices[{number}].encrypted is not true"
    if resource.kind == _TEMPLATE:
        mappings = _items(props, "blockDeviceMappings")
        if not mappings:
            yield "blockDeviceMappings is missing, so the image decides whether volumes are encrypted"
        for number, mapping in enumerate(mappings):
            if not _is_true((mapping.get("ebs") or {}).get("encrypted")):
                yield f"blockDeviceMappings[{number}].ebs.encrypted is not true"


def _metadata_without_tokens(resource: Resource) -> Iterator[str]:
    if resource.kind not in {_INSTANCE, _TEMPLATE}:
        return
    props = resource.properties
    if resource.kind == _INSTANCE and props.get("launchTemplate") and not props.get("metadataOptions"):
        return
    options = props.get("metadataOptions") or {}
    if options.get("httpEndpoint") == "disabled":
        return
    if options.get("httpTokens") != "required":
        yield "metadataOptions.httpTokens is not `required`"
    if int(options.get("httpPutResponseHopLimit") or 1) > 1:
        yield "metadataOptions.httpPutResponseHopLimit is over 1, so containers reach the instance's role"


def _public_address(resource: Resource) -> Iterator[str]:
    props = resource.properties
    if resource.kind == _INSTANCE and _is_true(props.get("associatePublicIpAddress")):
        yield "associatePublicIpAddress is true"
    if resource.kind == _TEMPLATE:
        for number, interface in enumerate(_items(props, "networkInterfaces")):
            if _is_true(interface.get("associatePublicIpAddress")):
                yield f"networkInterfaces[{number}].associatePublicIpAddress is true"
    if resource.kind == "aws:ec2/subnet:Subnet" and _is_true(props.get("mapPublicIpOnLaunch")):
        yield "mapPublicIpOnLaunch is true"
    if resource.kind == "aws:ec2/eip:Eip":
        yield from (
            f"{name} gives a host a public address"
            for name in ("instance", "networkInterface")
            if props.get(name)
        )
    if resource.kind == "aws:ec2/eipAssociation:EipAssociation":
        yield "gives a host a public address"
    if resource.kind == "aws:rds/instance:Instance" and _is_true(props.get("publiclyAccessible")):
        yield "publiclyAccessible is true"
    if resource.kind in {
        "aws:lb/loadBalancer:LoadBalancer",
        "aws:alb/loadBalancer:LoadBalancer",
    } and not _is_true(props.get("internal")):
        yield "internal is not true"


_IDENTITY_POLICIES = {
    "aws:iam/policy:Policy",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/userPolicy:UserPolicy",
    "aws:iam/groupPolicy:GroupPolicy",
}
_RESOURCE_POLICIES = {
    "aws:kms/key:Key": "policy",
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:iam/role:Role": "assumeRolePolicy",
}
_BROAD_POLICIES = ("/AdministratorAccess", "/PowerUserAccess", "/IAMFullAccess")
_WITHOUT_RESOURCE = frozenset({"sts:GetCallerIdentity", "ec2:DescribeInstances", "ec2:DescribeTags"})
"""Actions that IAM cannot limit to a resource (Service Authorization Reference); only these may name `*`."""


def _wildcard_grant(resource: Resource) -> Iterator[str]:
    props = resource.properties
    if resource.kind in _IDENTITY_POLICIES:
        yield from _broad_statements(props.get("policy"), "policy")
    if resource.kind == "aws:iam/role:Role":
        for number, inline in enumerate(_items(props, "inlinePolicies")):
            yield from _broad_statements(inline.get("policy"), f"inlinePolicies[{number}].policy")
        yield from _broad_attachments("managedPolicyArns", _items(props, "managedPolicyArns"))
    if resource.kind.endswith("PolicyAttachment"):
        yield from _broad_attachments("policyArn", [props.get("policyArn")])
    if place := _RESOURCE_POLICIES.get(resource.kind):
        yield from _open_principals(props.get(place), place)


def _broad_statements(document: object, place: str) -> Iterator[str]:
    for statement in _allowing(document, place):
        if isinstance(statement, str):
            yield statement
            continue
        yield from (f"{place} allows by {name}" for name in ("NotAction", "NotResource") if name in statement)
        actions = _texts(statement.get("Action"))
        yield from (f"{place} allows the action {action}" for action in actions if set("*?") & set(action))
        if "*" in _texts(statement.get("Resource")):
            wide = sorted(set(actions) - _WITHOUT_RESOURCE)
            if wide:
                yield f"{place} allows {', '.join(wide)} on every resource"


def _open_principals(document: object, place: str) -> Iterator[str]:
    for statement in _allowing(document, place):
        if isinstance(statement, str):
            yield statement
            continue
        if "NotPrincipal" in statement:
            yield f"{place} allows by NotPrincipal"
        principal = statement.get("Principal")
        named = [principal] if isinstance(principal, str) else [
            text for value in (principal or {}).values() for text in _texts(value)
        ]  # fmt: skip
        if "*" in named and not statement.get("Condition"):
            yield f"{place} allows every principal"


def _allowing(document: object, place: str) -> Iterator[dict[str, Any] | str]:
    """Yield the statements that allow something, or what is wrong with the document."""
    if document in (None, ""):
        return
    try:
        parsed = json.loads(document) if isinstance(document, str) else document
    except ValueError:
        parsed = None
    statements = parsed.get("Statement") if isinstance(parsed, Mapping) else None
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, Sequence) or not all(isinstance(found, Mapping) for found in statements):
        yield f"{place} is no policy document"
        return
    yield from (dict(found) for found in statements if found.get("Effect") == "Allow")


def _broad_attachments(place: str, arns: Iterable[object]) -> Iterator[str]:
    yield from (f"{place} is {arn}" for arn in arns if str(arn).endswith(_BROAD_POLICIES))


def _untagged(resource: Resource) -> Iterator[str]:
    tags = resource.properties.get("tags") or {}
    has_name, has_owner = bool(tags.get(NAME_TAG)), bool(tags.get(TENANT_TAG) or tags.get(PLATFORM_TAG))
    if (has_name and has_owner) or not is_taggable(resource.kind):
        return
    if not has_name:
        yield f"the tag {NAME_TAG} is missing"
    if not has_owner:
        yield f"neither the tag {TENANT_TAG} nor {PLATFORM_TAG} is there"


UNTAGGABLE = frozenset(
    {
        "aws:ec2/networkAclAssociation:NetworkAclAssociation",
        "aws:ec2/networkAclRule:NetworkAclRule",
        "aws:ec2/route:Route",
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        "aws:iam/rolePolicy:RolePolicy",
    }
)
"""Frequent types that take no tags; of any other type the vendor's classes are asked, which cost 0.3 s to load."""


def is_taggable(kind: str) -> bool:
    """Say whether the vendor's type takes tags, by what its class has; what is not `aws:` takes none."""
    package, _, rest = kind.partition(":")
    if package != "aws" or kind in UNTAGGABLE:
        return False
    import pulumi_aws  # noqa: PLC0415 - 0.3 s that who only reads the rules need not pay

    module, _, name = rest.partition(":")
    found = getattr(getattr(pulumi_aws, module.partition("/")[0], None), name, None)
    return found is not None and hasattr(found, "tags")


def _unlogged_networks(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    logged = {
        urn
        for resource in resources
        if resource.kind == "aws:ec2/flowLog:FlowLog" and resource.properties.get("trafficType") == "ALL"
        for urn in resource.uses.get("vpcId", ())
    }
    for resource in resources:
        if resource.kind == "aws:ec2/vpc:Vpc" and resource.urn not in logged:
            yield resource, "no flow log of this stack records all of its traffic"


def _data_routes(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    data = {
        resource.urn: resource
        for resource in resources
        if resource.kind == "aws:ec2/routeTable:RouteTable"
        and (resource.properties.get("tags") or {}).get(LAYER_TAG) == Layer.DATA
    }
    for table in data.values():
        if _items(table.properties, "routes"):
            yield table, "it is the data layer's and has inline routes"
    for resource in resources:
        place = {
            "aws:ec2/route:Route": "routeTableId",
            "aws:ec2/vpcEndpoint:VpcEndpoint": "routeTableIds",
        }.get(resource.kind)
        for urn in resource.uses.get(place, ()) if place else ():
            if urn in data:
                yield resource, f"it leads out of {data[urn].name}, which is the data layer's"


def _items(props: Properties, name: str) -> Sequence[Any]:
    return props.get(name) or ()


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(item) for item in value] if isinstance(value, Iterable) else []


def _is_true(value: object) -> bool:
    """AWS's launch templates take booleans as text."""
    return value is True or value == "true"


RESOURCE_RULES = (
    ResourceRule(
        "no-world-ingress",
        "No security group admits addresses that are not private",
        "name the security group that may come in (referencedSecurityGroupId), or a private range",
        _world_ingress,
    ),
    ResourceRule(
        "encryption-at-rest",
        "Everything that stores data encrypts it",
        "set the property to true; name a key of the purpose's own where there is one",
        _unencrypted,
    ),
    ResourceRule(
        "imds-v2",
        "Instance metadata needs a session token and does not pass a hop",
        'set metadataOptions to httpTokens "required" and httpPutResponseHopLimit 1',
        _metadata_without_tokens,
    ),
    ResourceRule(
        "no-public-address",
        "No host has a public address; the way out is NAT, the way in is the tailnet",
        "leave it out; hosts are reached over the tailnet",
        _public_address,
    ),
    ResourceRule(
        "no-wildcard-iam",
        "Every grant names its actions, its resources and who gets them",
        "list the actions and the ARNs that are needed, each with its reason",
        _wildcard_grant,
    ),
    ResourceRule(
        "tags",
        "Everything says whose it is",
        f"take the tags from `naming.tags_for`, which sets {NAME_TAG} and {TENANT_TAG}",
        _untagged,
    ),
)

STACK_RULES = (
    StackRule(
        "flow-logs",
        "Every VPC records all of its traffic",
        "add a FlowLog with traffic_type ALL for the VPC to the same stack",
        _unlogged_networks,
    ),
    StackRule(
        "no-data-route-out",
        "The data layer has no route out of its VPC",
        "remove the route; data hosts get packages through the proxy in mgmt",
        _data_routes,
    ),
)
