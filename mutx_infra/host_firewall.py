"""Flow table → the rules of a host's own firewall (NET-4), as data: what it accepts, and where it may go.

The host firewall is the fourth layer. It names the areas of the tenant's block and the tailnet; security groups, one
layer above, name roles. Both are generated from the same rows, so neither opens what the other does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from pydantic import BaseModel, ConfigDict

from mutx_infra.access import TAILNET_INTERFACE, tailnet_roles
from mutx_infra.firewall import ANYWHERE
from mutx_infra.flows import LAYER_OF, Carrier, Flow, Outside, Role
from mutx_infra.plan import TenantPlan

TAILNET_RANGES = ("100.64.0.0/10", "fd7a:115c:a1e0::/48")
"""Where tailnet addresses come from (Tailscale documentation, "IP pool" and "IPv6 addresses")."""

METADATA = "169.254.169.254/32"
TIME_SYNC = "169.254.169.123/32"
RESOLVER = "169.254.169.253/32"
"""AWS's link-local services, which no group or ACL filters (EC2 and VPC guides)."""


PROGRAM_PARTNERS: dict[Role, tuple[Role, ...]] = {
    Role.AGENT: (Role.GUARD, Role.DATABASE),
    Role.GUARD: (Role.AGENT, Role.DATABASE),
}
"""Whom a role's own program exchanges packets with, where it has a row with them (`partner_roles`); its other rows are
the host's: Vault Agent, packages, SSM."""


class HostRule(BaseModel):
    """One permitted flow as a host's firewall sees it.

    Attributes:
        port: destination port.
        protocol: `tcp` or `udp`.
        interface: the one it is limited to; None for any.
        peer: the CIDR (IPv4 or IPv6) of the other side: the source of what comes in, the destination of what goes out.
        reason: why it exists.
    """

    model_config = ConfigDict(frozen=True)

    port: int
    protocol: str
    peer: str
    interface: str | None = None
    reason: str


def incoming_rules(plan: TenantPlan, role: Role, *, handed_over: bool = False) -> tuple[HostRule, ...]:
    """Return what hosts of a role accept; everything else is dropped.

    Args:
        plan: whose flow table and areas hold.
        role: the hosts' role.
        handed_over: True once the tenant has taken over, which closes the rows that were for building.
    """
    return _distinct(
        rule
        for flow in plan.flows
        if flow.destination is role and not (handed_over and flow.before_hand_over_only)
        for port in flow.ports
        for rule in _accepting(plan, flow, port)
    )


def outgoing_rules(plan: TenantPlan, role: Role, coordination: Iterable[str] = ()) -> tuple[HostRule, ...]:
    """Return where hosts of a role may connect to: the flow table's rows, and what every EC2 instance needs.

    Args:
        plan: whose flow table holds.
        role: the hosts' role.
        coordination: link-local addresses with ports at which hosts of the tailnet find its server; a sandbox has some.
    """
    rows = (
        rule
        for flow in plan.flows
        if flow.source is role
        for port in flow.ports
        for rule in _leaving(plan, flow, port)
    )
    return _distinct((*_instance_services(plan), *_coordination(plan, role, coordination), *rows))


def partner_roles(plan: TenantPlan, role: Role) -> tuple[Role, ...]:
    """Return the roles that the program of a role's hosts exchanges packets with in this tenant."""
    pairs = {(flow.source, flow.destination) for flow in plan.flows}
    return tuple(
        other for other in PROGRAM_PARTNERS.get(role, ()) if (role, other) in pairs or (other, role) in pairs
    )


def program_rules(
    plan: TenantPlan, role: Role, addresses: Mapping[Role, tuple[IPv4Address, ...]]
) -> tuple[HostRule, ...]:
    """Return where the program that a role's hosts are for may connect to: hosts by address, not areas.

    Args:
        plan: whose flow table holds.
        role: the hosts' role.
        addresses: the private addresses of the tenant's hosts, by their role.
    """
    return _distinct(
        _rule(flow, port, f"{address}/32")
        for flow in plan.flows
        if flow.source is role and flow.destination in partner_roles(plan, role)
        for port in flow.ports
        for address in addresses.get(Role(flow.destination), ())
    )


def _accepting(plan: TenantPlan, flow: Flow, port: int) -> Iterator[HostRule]:
    if flow.carrier is Carrier.TAILNET:
        for peer in TAILNET_RANGES:
            yield _rule(flow, port, peer, TAILNET_INTERFACE)
    elif isinstance(flow.source, Role):
        yield _rule(flow, port, plan.areas[LAYER_OF[flow.source]])


def _leaving(plan: TenantPlan, flow: Flow, port: int) -> Iterator[HostRule]:
    if flow.carrier is Carrier.TAILNET:
        for peer in TAILNET_RANGES:
            yield _rule(flow, port, peer, TAILNET_INTERFACE)
    elif isinstance(flow.destination, Outside):
        # S3 and the internet alike: the addresses behind their names are not ours to list.
        yield _rule(flow, port, ANYWHERE)
    else:
        yield _rule(flow, port, plan.areas[LAYER_OF[flow.destination]])


def _instance_services(plan: TenantPlan) -> Iterator[HostRule]:
    resolvers = (RESOLVER, f"{IPv4Network(plan.block).network_address + 2}/32")
    for peer in resolvers:
        for protocol in ("udp", "tcp"):
            yield HostRule(port=53, protocol=protocol, peer=peer, reason="names, by the VPC's resolver")
    yield HostRule(port=123, protocol="udp", peer=TIME_SYNC, reason="time")
    yield HostRule(
        port=80, protocol="tcp", peer=METADATA, reason="instance identity and credentials (IMDSv2)"
    )
    yield HostRule(port=67, protocol="udp", peer=ANYWHERE, reason="DHCP renews the host's own address")


def _coordination(plan: TenantPlan, role: Role, places: Iterable[str]) -> Iterator[HostRule]:
    """Yield the way of the tailnet's hosts to its server, in place of the one through the proxy."""
    if role in tailnet_roles(plan.flows):
        for place in places:
            address, _, port = place.rpartition(":")
            reason = "the tailnet's coordination and relay, link-local"
            yield HostRule(port=int(port), protocol="tcp", peer=f"{address}/32", reason=reason)


def _rule(flow: Flow, port: int, peer: str, interface: str | None = None) -> HostRule:
    return HostRule(
        port=port, protocol=str(flow.protocol), peer=peer, interface=interface, reason=flow.reason
    )


def _distinct(rules: Iterable[HostRule]) -> tuple[HostRule, ...]:
    """Keep the first of rules that differ in their reason only: a firewall has them once."""
    kept: dict[tuple[int, str, str, str | None], HostRule] = {}
    for rule in rules:
        kept.setdefault((rule.port, rule.protocol, rule.peer, rule.interface), rule)
    return tuple(kept.values())
