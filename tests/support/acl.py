"""How AWS evaluates network ACLs: entries by number, the first that matches decides, else the packet is dropped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from mutx_infra.addressing import Layer
from mutx_infra.firewall import AclEntry


@dataclass(frozen=True)
class Packet:
    protocol: str
    source: IPv4Address
    source_port: int
    destination: IPv4Address
    destination_port: int

    def reply(self) -> Packet:
        return replace(
            self,
            source=self.destination,
            source_port=self.destination_port,
            destination=self.source,
            destination_port=self.source_port,
        )


def admits(entries: Iterable[AclEntry], layer: Layer, packet: Packet, *, egress: bool) -> bool:
    """Say whether a layer's ACL lets a packet leave (`egress`) or enter its subnets."""
    peer = packet.destination if egress else packet.source
    mine = (entry for entry in entries if entry.layer is layer and entry.egress is egress)
    for entry in sorted(mine, key=lambda entry: entry.number):
        if _matches(entry, packet, peer):
            return entry.action == "allow"
    return False


def passes(entries: Iterable[AclEntry], packet: Packet, source: Layer, destination: Layer) -> bool:
    """Say whether a packet gets from one subnet of the VPC into another."""
    kept = list(entries)
    return admits(kept, source, packet, egress=True) and admits(kept, destination, packet, egress=False)


def _matches(entry: AclEntry, packet: Packet, peer: IPv4Address) -> bool:
    if peer not in IPv4Network(entry.cidr):
        return False
    if entry.protocol == "-1":
        return True
    return entry.protocol == packet.protocol and entry.from_port <= packet.destination_port <= entry.to_port
