"""The table: route tables, routes, and which subnet uses which table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutx_sandbox.aws.ec2 import COMMON, OWNER, arn, described, filters
from mutx_sandbox.aws.ids import route_id
from mutx_sandbox.aws.resource import Call, Create, Describe, ResourceType, Update
from mutx_sandbox.aws.shapes import upper_camel
from mutx_sandbox.aws.tags import REGION, ec2_tagging
from mutx_sandbox.bridge.properties import Output, string
from mutx_sandbox.bridge.values import Properties, has_unknown

if TYPE_CHECKING:
    from mutx_sandbox.aws.work import Work

ROUTE_TABLE = ResourceType(
    name="aws:ec2/routeTable:RouteTable",
    service="ec2",
    properties={**COMMON, "vpcId": string(required=True, replaces=True)},
    outputs={**OWNER, "arn": arn("route-table/$id")},
    create=Create(operation="CreateRouteTable", item="RouteTable"),
    describe=described(
        "DescribeRouteTables",
        "RouteTables",
        "RouteTableId",
        among={"vpc-id": "$vpcId"},
        given="Associations[?Main]",
    ),
    delete=(Call("DeleteRouteTable", {"RouteTableId": "$id"}),),
    tagging=ec2_tagging("route-table"),
    refused={
        "routes": "declare aws:ec2/route:Route resources instead",
        "propagatingVgws": "virtual private gateways are not in its table",
    },
)

_DESTINATIONS = ("destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId")
_TARGETS = (
    "gatewayId",
    "natGatewayId",
    "networkInterfaceId",
    "transitGatewayId",
    "vpcPeeringConnectionId",
    "vpcEndpointId",
)


def _destination(known: Properties) -> str:
    return next((str(known[name]) for name in _DESTINATIONS if known.get(name)), "")


def _validate_route(inputs: Properties) -> list[tuple[str, str]]:
    failures = []
    if sum(1 for name in _DESTINATIONS if inputs.get(name)) != 1:
        failures.append(("destinationCidrBlock", f"exactly one of {', '.join(_DESTINATIONS)} is needed"))
    targets = [inputs[name] for name in _TARGETS if inputs.get(name)]
    if len(targets) != 1 and not has_unknown(targets):
        failures.append(("gatewayId", f"exactly one of {', '.join(_TARGETS)} is needed"))
    return failures


def _parse_route(text: str) -> Properties:
    table, separator, destination = text.partition("_")
    if not separator or not table.startswith("rtb-"):
        raise ValueError("a route is imported as ROUTETABLEID_DESTINATION, e.g. rtb-1a2b_10.42.0.0/16")
    if destination.startswith("pl-"):
        return {"routeTableId": table, "destinationPrefixListId": destination}
    kind = "destinationIpv6CidrBlock" if ":" in destination else "destinationCidrBlock"
    return {"routeTableId": table, kind: destination}


def _replace_route(work: Work) -> None:
    """Point the route at the wanted target; the old target is not sent."""
    names = ("routeTableId", *_DESTINATIONS, *_TARGETS)
    work.call("ReplaceRoute", {upper_camel(name): work.inputs.get(name) for name in names})


ROUTE = ResourceType(
    name="aws:ec2/route:Route",
    service="ec2",
    properties={
        "region": REGION,
        "routeTableId": string(required=True, replaces=True, item=None),
        **{name: string(replaces=True) for name in _DESTINATIONS},
        **{name: string(computed=name == "networkInterfaceId") for name in _TARGETS},
    },
    outputs={
        "instanceId": Output(item="InstanceId"),
        "instanceOwnerId": Output(item="InstanceOwnerId"),
        "origin": Output(item="Origin"),
        "state": Output(item="State"),
    },
    create=Create(
        operation="CreateRoute", echoes=True, constants={"Origin": "CreateRoute", "State": "active"}
    ),
    describe=Describe(
        operation="DescribeRouteTables",
        by={"RouteTableIds": ["$routeTableId"]},
        items="RouteTables[].Routes[]",
    ),
    keys=_DESTINATIONS,
    make_id=lambda known: route_id(str(known["routeTableId"]), _destination(known)),
    parse_import=_parse_route,
    updates=(Update(frozenset(_TARGETS), _replace_route),),
    delete=(
        Call("DeleteRoute", {upper_camel(name): f"${name}" for name in ("routeTableId", *_DESTINATIONS)}),
    ),
    validate=_validate_route,
    unique_by=("routeTableId", *_DESTINATIONS),
)


def _parse_association(text: str) -> Properties:
    one, separator, table = text.partition("/")
    if not separator or not table.startswith("rtb-"):
        raise ValueError("an association is imported as SUBNETID/ROUTETABLEID or GATEWAYID/ROUTETABLEID")
    return {"subnetId" if one.startswith("subnet-") else "gatewayId": one, "routeTableId": table}


def _replace_association(work: Work) -> None:
    """Move the subnet to another table; AWS makes a new association and tells its id."""
    answer: Properties = work.call(
        "ReplaceRouteTableAssociation",
        {"AssociationId": work.id, "RouteTableId": work.inputs["routeTableId"]},
        frozenset({"InvalidAssociationID.NotFound"}),
    )
    if answer:
        work.id = answer["NewAssociationId"]
        return
    by = filters({"association.subnet-id": work.inputs["subnetId"]})
    for table in work.call("DescribeRouteTables", by)["RouteTables"]:
        for association in table["Associations"]:
            if association.get("SubnetId") == work.inputs["subnetId"]:
                work.id = association["RouteTableAssociationId"]


def _validate_association(inputs: Properties) -> list[tuple[str, str]]:
    if bool(inputs.get("subnetId")) == bool(inputs.get("gatewayId")):
        return [("subnetId", "exactly one of subnetId, gatewayId is needed")]
    return []


ROUTE_TABLE_ASSOCIATION = ResourceType(
    name="aws:ec2/routeTableAssociation:RouteTableAssociation",
    service="ec2",
    properties={
        "region": REGION,
        "routeTableId": string(required=True),
        "subnetId": string(replaces=True),
        "gatewayId": string(replaces=True),
    },
    create=Create(operation="AssociateRouteTable", id="AssociationId", echoes=True),
    describe=Describe(
        operation="DescribeRouteTables",
        by=filters({"association.route-table-association-id": "$id"}),
        items="RouteTables[].Associations[]",
        identity="RouteTableAssociationId",
        among={"RouteTableIds": ["$routeTableId"]},
    ),
    parse_import=_parse_association,
    updates=(Update(frozenset({"routeTableId"}), _replace_association),),
    delete=(Call("DisassociateRouteTable", {"AssociationId": "$id"}),),
    validate=_validate_association,
    unique_by=("subnetId", "gatewayId"),
)

TYPES = (ROUTE_TABLE, ROUTE, ROUTE_TABLE_ASSOCIATION)
