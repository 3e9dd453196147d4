"""The functions of the official provider that programs call: account, region, zones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mutx_sandbox.aws.sessions import Session
from mutx_sandbox.bridge.patience import Patience
from mutx_sandbox.bridge.values import Properties


@dataclass(frozen=True, slots=True)
class Function:
    """One function: the arguments it knows, and how it is answered."""

    token: str
    arguments: frozenset[str]
    run: Callable[[Session, Patience, Properties], Properties]


def _caller_identity(session: Session, patience: Patience, _arguments: Properties) -> Properties:
    answer = session.caller.call("sts", "GetCallerIdentity", {}, patience)
    account = str(answer["Account"])
    return {"accountId": account, "id": account, "arn": answer["Arn"], "userId": answer["UserId"]}


def _region(session: Session, _patience: Patience, arguments: Properties) -> Properties:
    name = str(arguments.get("region") or arguments.get("name") or session.region)
    return {
        "id": name,
        "name": name,
        "region": name,
        "endpoint": f"ec2.{name}.amazonaws.com",
        "description": name,
    }


def _zones(session: Session, patience: Patience, arguments: Properties) -> Properties:
    region = str(arguments.get("region") or session.region)
    wanted = [{"Name": entry["name"], "Values": entry["values"]} for entry in arguments.get("filters") or []]
    if arguments.get("state"):
        wanted.append({"Name": "state", "Values": [arguments["state"]]})
    request: Mapping[str, Any] = {"Filters": wanted} if wanted else {}
    zones = session.caller.call("ec2", "DescribeAvailabilityZones", request, patience, region=region)
    kept = [
        zone
        for zone in sorted(zones["AvailabilityZones"], key=lambda zone: str(zone["ZoneName"]))
        if zone["ZoneName"] not in (arguments.get("excludeNames") or [])
        and zone["ZoneId"] not in (arguments.get("excludeZoneIds") or [])
    ]
    return {
        **arguments,
        "id": region,
        "region": region,
        "names": [zone["ZoneName"] for zone in kept],
        "zoneIds": [zone["ZoneId"] for zone in kept],
        "groupNames": sorted({zone.get("GroupName") or region for zone in kept}),
    }


FUNCTIONS: dict[str, Function] = {
    function.token: function
    for function in (
        Function("aws:index/getCallerIdentity:getCallerIdentity", frozenset({"id"}), _caller_identity),
        Function("aws:index/getRegion:getRegion", frozenset({"id", "name", "region", "endpoint"}), _region),
        Function(
            "aws:index/getAvailabilityZones:getAvailabilityZones",
            frozenset(
                {"allAvailabilityZones", "excludeNames", "excludeZoneIds", "filters", "id", "region", "state"}
            ),
            _zones,
        ),
    )
}
