"""Flow table → security group rules and network ACL entries, as data.

Security groups are stateful: a flow is one egress rule at its source and one ingress rule at its destination.
Network ACLs are stateless: a flow is two entries on each side, the second for its replies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from mutx_infra.addressing import Layer, SubnetLayout
from mutx_infra.flows import LAYER_OF, Carrier, Flow, Outside, Role

ANYWHERE = "0.0.0.0/0"
HOST_REPLY_PORTS = (32768, 60999)
"""Linux's net.ipv4.ip_local_port_range: where replies to a host's own connections arrive."""
NAT_REPLY_PORTS = (1024, 65535)
"""NAT gateways use this range (VPC user guide, "Ephemeral ports")."""
ENTRY_LIMIT = 20
"""AWS's default quota of entries per direction and network ACL."""

_OUT, _IN = True, False
_FIRST_ALLOW, _DENY_BLOCK, _FIRST_OUTSIDE, _STEP = 100, 900, 1000, 10


class GroupRule(BaseModel):
    """One rule of one security group; exactly one of the three peers is set.

    Attributes:
        key: stable name within the tenant; the Pulumi resource is called so.
        group: whose security group holds the rule.
        direction: seen from that group.
        peer_role: the other side's security group.
        peer_cidr: an address range, for egress only.
        peer_endpoint: a gateway endpoint's prefix list, for egress only.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    group: Role
    direction: Literal["ingress", "egress"]
    protocol: str
    port: int
    peer_role: Role | None = None
    peer_cidr: str | None = None
    peer_endpoint: str | None = None
    reason: str


class AclEntry(BaseModel):
    """One entry of a layer's network ACL, in AWS's terms (number, direction, protocol, ports, CIDR, action)."""

    model_config = ConfigDict(frozen=True)

    layer: Layer
    egress: bool
    number: int
    action: Literal["allow", "deny"]
    protocol: str
    from_port: int
    to_port: int
    cidr: str
    reason: str

    @property
    def key(self) -> str:
        """Name within the tenant. A changed flow table may give it other content: it is then replaced in place."""
        way = "out" if self.egress else "in"
        return f"acl-{self.layer}-{way}-{self.number}"


def group_rules(flows: Iterable[Flow]) -> tuple[GroupRule, ...]:
    """Return the rules of all security groups, in the table's order."""
    return tuple(rule for flow in flows for port in flow.ports for rule in _rules_of(flow, port))


def acl_entries(flows: Iterable[Flow], layout: SubnetLayout) -> tuple[AclEntry, ...]:
    """Return every layer's entries, numbered: allows inside the block, then its denial, then the outside.

    The denial in the middle keeps the wide reply ranges of the outside from admitting neighbours.

    Raises:
        ValueError: a layer needs more entries than AWS's default quota allows.
    """
    inside = [opening for flow in flows if flow.carrier is Carrier.VPC for opening in _inside(flow, layout)]
    outside = [opening for flow in flows if flow.carrier is Carrier.NAT for opening in _outside(flow, layout)]
    return tuple(_numbered(inside, outside, str(layout.block)))


class _Opening(NamedTuple):
    """An entry before it is numbered."""

    layer: Layer
    egress: bool
    protocol: str
    ports: tuple[int, int]
    cidr: str
    reason: str


def _rules_of(flow: Flow, port: int) -> Iterator[GroupRule]:
    if flow.carrier is Carrier.TAILNET or not isinstance(flow.source, Role):
        return
    what = f"{flow.protocol}-{port}"
    out, into = flow.source, flow.destination
    leaving = GroupRule(
        key=f"sg-{out}-to-{into}-{what}",
        group=out,
        direction="egress",
        protocol=flow.protocol,
        port=port,
        peer_role=into if isinstance(into, Role) else None,
        peer_endpoint=str(into) if into is Outside.S3 else None,
        peer_cidr=ANYWHERE if isinstance(into, Outside) and into is not Outside.S3 else None,
        reason=flow.reason,
    )
    yield leaving
    if isinstance(into, Role):
        arriving = {
            "key": f"sg-{into}-from-{out}-{what}",
            "group": into,
            "direction": "ingress",
            "peer_role": out,
        }
        yield leaving.model_copy(update=arriving)


def _inside(flow: Flow, layout: SubnetLayout) -> Iterator[_Opening]:
    assert isinstance(flow.source, Role)  # noqa: S101 - a VPC row runs between roles; the table's test says so
    assert isinstance(flow.destination, Role)  # noqa: S101
    source, destination = LAYER_OF[flow.source], LAYER_OF[flow.destination]
    near, far = str(layout.areas[source]), str(layout.areas[destination])
    replies = f"replies: {flow.reason}"
    for port in flow.ports:
        yield _Opening(source, _OUT, flow.protocol, (port, port), far, flow.reason)
        yield _Opening(destination, _IN, flow.protocol, (port, port), near, flow.reason)
    yield _Opening(destination, _OUT, flow.protocol, HOST_REPLY_PORTS, near, replies)
    yield _Opening(source, _IN, flow.protocol, HOST_REPLY_PORTS, far, replies)


def _outside(flow: Flow, layout: SubnetLayout) -> Iterator[_Opening]:
    """A host's way out crosses two ACLs: its own layer's and that of the NAT gateways (layer egress)."""
    assert isinstance(flow.source, Role)  # noqa: S101
    layer = LAYER_OF[flow.source]
    host_area = str(layout.areas[layer])
    for port in flow.ports:
        # WireGuard sends from the port it listens on, so its replies come back to that very port.
        host_replies = (port, port) if flow.protocol == "udp" else HOST_REPLY_PORTS
        yield _Opening(layer, _OUT, flow.protocol, (port, port), ANYWHERE, flow.reason)
        yield _Opening(layer, _IN, flow.protocol, host_replies, ANYWHERE, f"replies: {flow.reason}")
        yield _Opening(Layer.EGRESS, _IN, flow.protocol, (port, port), host_area, flow.reason)
        yield _Opening(Layer.EGRESS, _OUT, flow.protocol, host_replies, host_area, f"replies: {flow.reason}")
        yield _Opening(Layer.EGRESS, _OUT, flow.protocol, (port, port), ANYWHERE, flow.reason)
        yield _Opening(Layer.EGRESS, _IN, flow.protocol, NAT_REPLY_PORTS, ANYWHERE, f"replies: {flow.reason}")


def _numbered(inside: list[_Opening], outside: list[_Opening], block: str) -> Iterator[AclEntry]:
    within = [*inside, *(o for o in outside if o.cidr != ANYWHERE)]
    beyond = [o for o in outside if o.cidr == ANYWHERE]
    for layer in Layer:
        for egress in (False, True):
            outer = list(_sequence(beyond, layer, egress, _FIRST_OUTSIDE))
            entries = list(_sequence(within, layer, egress, _FIRST_ALLOW))
            if outer:
                entries += [_denial(layer, egress, block), *outer]
            if len(entries) > ENTRY_LIMIT:
                raise ValueError(
                    f"layer {layer} needs {len(entries)} ACL entries in one direction, AWS allows 20"
                )
            yield from entries


def _denial(layer: Layer, egress: bool, block: str) -> AclEntry:
    return AclEntry(
        layer=layer,
        egress=egress,
        number=_DENY_BLOCK,
        action="deny",
        protocol="-1",
        from_port=0,
        to_port=0,
        cidr=block,
        reason="nothing else inside the block",
    )


def _sequence(openings: list[_Opening], layer: Layer, egress: bool, first: int) -> Iterator[AclEntry]:
    """Number one direction of one layer; openings which differ in their reason only are one entry."""
    reasons: dict[tuple[str, tuple[int, int], str], str] = {}
    for where, way, protocol, ports, cidr, reason in openings:
        if where is layer and way is egress:
            reasons.setdefault((protocol, ports, cidr), reason)
    for index, ((protocol, ports, cidr), reason) in enumerate(reasons.items()):
        yield AclEntry(
            layer=layer,
            egress=egress,
            number=first + index * _STEP,
            action="allow",
            protocol=protocol,
            from_port=ports[0],
            to_port=ports[1],
            cidr=cidr,
            reason=reason,
        )
