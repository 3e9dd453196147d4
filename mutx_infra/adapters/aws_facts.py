"""EC2's answers → the facts that verification compares. Pure: AWS's shapes in, ours out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mutx_infra.adapters.aws_listing import GONE_STATES, tags_of
from mutx_infra.naming import NAME_TAG, TENANT_TAG
from mutx_infra.verification import (
    S3_PREFIX_LIST,
    AclFact,
    FlowLogFact,
    GroupRuleFact,
    RouteFact,
    SubnetFact,
    TenantFacts,
    VpcFact,
)

_PROTOCOL_NAMES = {"6": "tcp", "17": "udp", "1": "icmp"}
_CLOSING_ENTRY = 32767
"""Number of the denial that AWS puts at the end of every network ACL and nobody can remove."""

Items = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Inventory:
    """One tenant's network as EC2 and CloudWatch Logs describe it (their own field names)."""

    vpcs: Items
    subnets: Items
    tables: Items
    acls: Items
    groups: Items
    gateways: Items
    nats: Items
    endpoints: Items
    flow_logs: Items
    prefix_lists: Items
    log_groups: Items
    dns: Mapping[tuple[str, str], bool]


def facts_of(seen: Inventory, names: Mapping[str, str]) -> TenantFacts:
    """Return the facts of a tenant's network; what carries no name of the tenant appears under its AWS id.

    `names` are the `logical_names` of what was seen.
    """
    return TenantFacts(
        vpcs=frozenset(
            VpcFact(
                block=vpc["CidrBlock"],
                dns_support=seen.dns[vpc["VpcId"], "enableDnsSupport"],
                dns_hostnames=seen.dns[vpc["VpcId"], "enableDnsHostnames"],
            )
            for vpc in seen.vpcs
        ),
        subnets=frozenset(_subnets(seen, names)),
        routes=frozenset(_routes(seen, names)),
        acl_entries=frozenset(_acl_entries(seen, names)),
        group_rules=frozenset(_group_rules(seen, names)),
        flow_logs=frozenset(_flow_logs(seen)),
    )


def logical_names(tenant: str, seen: Inventory) -> dict[str, str]:
    """Map AWS ids to the logical names in the `Name` tags of this tenant's resources."""
    ids = {
        "SubnetId": seen.subnets,
        "RouteTableId": seen.tables,
        "NetworkAclId": seen.acls,
        "GroupId": seen.groups,
        "InternetGatewayId": seen.gateways,
        "NatGatewayId": seen.nats,
        "VpcEndpointId": seen.endpoints,
    }
    names = {entry["PrefixListId"]: _service(entry["PrefixListName"]) for entry in seen.prefix_lists}
    for key, items in ids.items():
        for item in items:
            tags = tags_of(item)
            named = tags.get(TENANT_TAG) == tenant and tags.get(NAME_TAG, "").startswith(f"{tenant}-")
            names[item[key]] = (
                tags[NAME_TAG].removeprefix(f"{tenant}-").removeprefix("subnet-") if named else item[key]
            )
    return names


def _service(prefix_list_name: str) -> str:
    short = prefix_list_name.rsplit(".", 1)[-1]
    return S3_PREFIX_LIST if short == "s3" else prefix_list_name


def _subnets(seen: Inventory, names: Mapping[str, str]) -> Iterator[SubnetFact]:
    tables = {
        association["SubnetId"]: table["RouteTableId"]
        for table in seen.tables
        for association in table.get("Associations", [])
        if association.get("SubnetId")
    }
    acls = {
        association["SubnetId"]: acl["NetworkAclId"]
        for acl in seen.acls
        for association in acl.get("Associations", [])
    }
    for subnet in seen.subnets:
        identity = subnet["SubnetId"]
        table, acl = tables.get(identity), acls.get(identity)
        yield SubnetFact(
            name=names[identity],
            cidr=subnet["CidrBlock"],
            zone=subnet["AvailabilityZone"],
            public_addresses=bool(subnet.get("MapPublicIpOnLaunch")),
            route_table=names.get(table, table) if table else "the VPC's main route table",
            acl=names.get(acl, acl) if acl else "the VPC's default network ACL",
        )


def _routes(seen: Inventory, names: Mapping[str, str]) -> Iterator[RouteFact]:
    for table in seen.tables:
        for route in table["Routes"]:
            target = next((route[key] for key in _TARGETS if route.get(key)), "nowhere")
            if target == "local":
                continue
            destination = next(route[key] for key in _DESTINATIONS if route.get(key))
            yield RouteFact(
                table=names[table["RouteTableId"]],
                destination=names.get(destination, destination),
                target=names.get(target, target),
            )
    yield from _endpoint_routes(seen, names)


def _endpoint_routes(seen: Inventory, names: Mapping[str, str]) -> Iterator[RouteFact]:
    """A gateway endpoint routes in each of its tables; not every EC2 endpoint also lists it among the routes."""
    for endpoint in seen.endpoints:
        if str(endpoint.get("State", "")).lower() in GONE_STATES:
            continue
        for table in endpoint.get("RouteTableIds", []):
            yield RouteFact(
                table=names.get(table, table),
                destination=_service(endpoint["ServiceName"]),
                target=names[endpoint["VpcEndpointId"]],
            )


_TARGETS = (
    "NatGatewayId", "GatewayId", "TransitGatewayId", "VpcPeeringConnectionId", "EgressOnlyInternetGatewayId",
    "NetworkInterfaceId", "InstanceId", "LocalGatewayId", "CarrierGatewayId", "CoreNetworkArn",
)  # fmt: skip
_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")


def _acl_entries(seen: Inventory, names: Mapping[str, str]) -> Iterator[AclFact]:
    for acl in seen.acls:
        if acl["IsDefault"]:
            continue  # it serves no subnet of ours; a subnet that falls back to it is a finding of its own
        for entry in acl["Entries"]:
            if entry["RuleNumber"] >= _CLOSING_ENTRY:
                continue
            ports = entry.get("PortRange") or {"From": 0, "To": 0}
            protocol = str(entry["Protocol"])
            yield AclFact(
                acl=names[acl["NetworkAclId"]],
                egress=entry["Egress"],
                number=entry["RuleNumber"],
                action=entry["RuleAction"],
                protocol=_PROTOCOL_NAMES.get(protocol, protocol),
                from_port=ports["From"],
                to_port=ports["To"],
                cidr=entry.get("CidrBlock") or entry.get("Ipv6CidrBlock", ""),
            )


def _group_rules(seen: Inventory, names: Mapping[str, str]) -> Iterator[GroupRuleFact]:
    for group in seen.groups:
        for direction, permissions in (
            ("ingress", group["IpPermissions"]),
            ("egress", group["IpPermissionsEgress"]),
        ):
            for permission in permissions:
                for peer in _peers(permission):
                    yield GroupRuleFact(
                        group=names[group["GroupId"]],
                        direction=direction,
                        protocol=permission["IpProtocol"],
                        from_port=permission.get("FromPort", 0),
                        to_port=permission.get("ToPort", 0),
                        peer=names.get(peer, peer),
                    )


def _peers(permission: Mapping[str, Any]) -> Iterator[str]:
    yield from (pair["GroupId"] for pair in permission.get("UserIdGroupPairs", []))
    yield from (entry["CidrIp"] for entry in permission.get("IpRanges", []))
    yield from (entry["CidrIpv6"] for entry in permission.get("Ipv6Ranges", []))
    yield from (entry["PrefixListId"] for entry in permission.get("PrefixListIds", []))


def _flow_logs(seen: Inventory) -> Iterator[FlowLogFact]:
    retention = {group["logGroupName"]: group.get("retentionInDays", 0) for group in seen.log_groups}
    for log in seen.flow_logs:
        arn = str(log.get("LogDestination", "")).removesuffix(":*")
        destination = log.get("LogGroupName") or arn.partition(":log-group:")[2] or arn
        yield FlowLogFact(
            traffic=log.get("TrafficType", ""),
            active=log.get("FlowLogStatus") == "ACTIVE",
            destination=destination,
            retention_days=retention.get(destination, 0),
        )
