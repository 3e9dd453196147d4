"""The one flow table: every permitted flow is one row, and nothing else opens a port.

Security groups and network ACLs are generated from it by `mutx_infra.firewall`; UFW rules, tailnet grants and
the isolation prover's expectation read the same rows. A change to a row is a decision with a record in
docs/decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mutx_infra.addressing import Layer


class Role(StrEnum):
    """What stands in a tenant's subnets; each has a security group `sg-<role>`."""

    AGENT = "agent"
    CONTROL_PLANE = "control-plane"
    """The platform's API; no tenant has one."""
    DATABASE = "database"
    ENDPOINT = "endpoint"
    """Interface endpoints of AWS services: network interfaces of AWS, no host."""
    GUARD = "guard"
    MGMT = "mgmt"
    VAULT = "vault"


class Outside(StrEnum):
    """A party that is not a host of the tenant."""

    CLIENTS = "clients"
    CONTROL_PLANE = "control-plane"
    OPERATORS = "operators"
    CONVERGE = "converge-account"
    TENANT_ADMINS = "tenant-administrators"
    INTERNET = "internet"
    S3 = "s3"


class Carrier(StrEnum):
    """What a flow travels over."""

    VPC = "vpc"
    TAILNET = "tailnet"
    NAT = "nat"
    ENDPOINT = "gateway-endpoint"


class Protocol(StrEnum):
    """A transport protocol, by the name that AWS and UFW use."""

    TCP = "tcp"
    UDP = "udp"


LAYER_OF: dict[Role, Layer] = {
    Role.AGENT: Layer.APP,
    Role.CONTROL_PLANE: Layer.APP,
    Role.GUARD: Layer.APP,
    Role.DATABASE: Layer.DATA,
    Role.ENDPOINT: Layer.MGMT,
    Role.MGMT: Layer.MGMT,
    Role.VAULT: Layer.MGMT,
}
"""Where each role's hosts stand. Vault stands in mgmt: data has no route out and admits agents' ports only."""

HOST_ROLES = (Role.AGENT, Role.DATABASE, Role.GUARD, Role.MGMT, Role.VAULT)
"""The roles that a tenant's hosts have."""
PLATFORM_ROLES = (Role.CONTROL_PLANE, Role.DATABASE, Role.MGMT, Role.VAULT)
"""The roles that the platform's hosts have."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One permitted flow.

    Attributes:
        source: who opens the connection.
        destination: who accepts it.
        protocol: transport protocol.
        ports: destination ports.
        carrier: what it travels over; it is open in no other way.
        reason: why it exists; ends up in the rule's description (at most 255 characters of AWS's set).
        before_hand_over_only: True where hand-over to the tenant closes it.
        several_guards_only: True where a tenant with one guard does not have it.
    """

    source: Role | Outside
    destination: Role | Outside
    protocol: Protocol
    ports: tuple[int, ...]
    carrier: Carrier
    reason: str
    before_hand_over_only: bool = False
    several_guards_only: bool = False


def _each(sources: tuple[Role | Outside, ...], *rest: object, **more: object) -> tuple[Flow, ...]:
    return tuple(Flow(source, *rest, **more) for source in sources)  # type: ignore[arg-type]


POSTGRESQL_PORT, REDIS_PORT = 5432, 6379
AGENT_PORT, GUARD_PORT, EGRESS_PORT = 8080, 8443, 8444

_TCP, _UDP = Protocol.TCP, Protocol.UDP
_R, _O, _C = Role, Outside, Carrier
_TAILNET_NODES: tuple[Role | Outside, ...] = (_R.AGENT, _R.GUARD, _R.MGMT, _R.VAULT)

FLOWS: tuple[Flow, ...] = (
    Flow(
        _O.CONTROL_PLANE,
        _R.GUARD,
        _TCP,
        (GUARD_PORT,),
        _C.TAILNET,
        "requests enter a tenant through its guard only, mTLS",
    ),
    *_each(
        (_O.OPERATORS, _O.CONVERGE),
        _R.MGMT,
        _TCP,
        (22,),
        _C.TAILNET,
        "build and converge",
        before_hand_over_only=True,
    ),
    *_each(
        (_O.OPERATORS, _O.CONVERGE),
        _R.AGENT,
        _TCP,
        (22,),
        _C.TAILNET,
        "build and converge",
        before_hand_over_only=True,
    ),
    *_each(
        (_O.OPERATORS, _O.CONVERGE),
        _R.GUARD,
        _TCP,
        (22,),
        _C.TAILNET,
        "build and converge",
        before_hand_over_only=True,
    ),
    Flow(
        _O.TENANT_ADMINS,
        _R.VAULT,
        _TCP,
        (8200,),
        _C.TAILNET,
        "tenant administrators manage their own keys, mTLS",
    ),
    Flow(_R.GUARD, _R.AGENT, _TCP, (AGENT_PORT,), _C.VPC, "agent API, judged requests only, mTLS"),
    Flow(
        _R.AGENT,
        _R.GUARD,
        _TCP,
        (GUARD_PORT, EGRESS_PORT),
        _C.VPC,
        "texts are judged, and LLM calls leave through the egress proxy of guard, mTLS",
    ),
    Flow(_R.AGENT, _R.DATABASE, _TCP, (POSTGRESQL_PORT,), _C.VPC, "PostgreSQL, TLS"),
    Flow(_R.AGENT, _R.DATABASE, _TCP, (REDIS_PORT,), _C.VPC, "Redis, TLS"),
    Flow(
        _R.GUARD,
        _R.DATABASE,
        _TCP,
        (REDIS_PORT,),
        _C.VPC,
        "Redis, TLS: what agents did, where several guards of a tenant have to agree on it",
        several_guards_only=True,
    ),
    *_each(
        (_R.AGENT, _R.GUARD, _R.DATABASE), _R.VAULT, _TCP, (8200,), _C.VPC, "Vault API for Vault Agent, mTLS"
    ),
    Flow(_R.VAULT, _R.VAULT, _TCP, (8201,), _C.VPC, "Vault raft between its nodes"),
    Flow(
        _R.MGMT, _R.DATABASE, _TCP, (22,), _C.VPC, "SSH by ProxyJump, database hosts are not on the tailnet"
    ),
    Flow(
        _R.MGMT, _R.VAULT, _TCP, (22,), _C.VPC, "SSH by ProxyJump until hand-over", before_hand_over_only=True
    ),
    *_each((_R.AGENT, _R.GUARD, _R.DATABASE, _R.VAULT), _R.MGMT, _TCP, (3128,), _C.VPC, "package proxy"),
    Flow(_R.GUARD, _O.INTERNET, _TCP, (443,), _C.NAT, "LLM providers by name through the egress proxy"),
    Flow(
        _R.MGMT,
        _O.INTERNET,
        _TCP,
        (443,),
        _C.NAT,
        "package mirrors and tailnet coordination behind the proxy",
    ),
    *_each(_TAILNET_NODES, _O.INTERNET, _UDP, (41641,), _C.NAT, "direct WireGuard to tailnet peers"),
    Flow(
        _R.MGMT,
        _O.S3,
        _TCP,
        (443,),
        _C.ENDPOINT,
        "package and image objects, through the S3 gateway endpoint",
    ),
    *_each(HOST_ROLES, _R.ENDPOINT, _TCP, (443,), _C.VPC, "SSM, KMS and logs without leaving the VPC"),
)
"""Every row of a tenant, whatever the tier.

DNS, DHCP, instance metadata and time sync need no row: neither security groups nor ACLs filter them (VPC guide)."""


PLATFORM_FLOWS: tuple[Flow, ...] = (
    Flow(_O.CLIENTS, _R.CONTROL_PLANE, _TCP, (443,), _C.TAILNET, "dashboards and programs call the API"),
    *_each((_O.OPERATORS, _O.CONVERGE), _R.CONTROL_PLANE, _TCP, (22,), _C.TAILNET, "build and converge"),
    *_each((_O.OPERATORS, _O.CONVERGE), _R.MGMT, _TCP, (22,), _C.TAILNET, "build and converge"),
    Flow(_R.CONTROL_PLANE, _R.DATABASE, _TCP, (POSTGRESQL_PORT,), _C.VPC, "PostgreSQL, TLS"),
    Flow(_R.CONTROL_PLANE, _R.DATABASE, _TCP, (REDIS_PORT,), _C.VPC, "Redis, TLS"),
    *_each(
        (_R.CONTROL_PLANE, _R.DATABASE),
        _R.VAULT,
        _TCP,
        (8200,),
        _C.VPC,
        "Vault API for Vault Agent and for transit, mTLS",
    ),
    Flow(_R.VAULT, _R.VAULT, _TCP, (8201,), _C.VPC, "Vault raft between its nodes"),
    *_each((_R.DATABASE, _R.VAULT), _R.MGMT, _TCP, (3128,), _C.VPC, "package proxy"),
    Flow(_R.CONTROL_PLANE, _R.MGMT, _TCP, (3128,), _C.VPC, "package proxy, and identity providers by name"),
    Flow(
        _R.MGMT, _R.DATABASE, _TCP, (22,), _C.VPC, "SSH by ProxyJump, database hosts are not on the tailnet"
    ),
    Flow(_R.MGMT, _R.VAULT, _TCP, (22,), _C.VPC, "SSH by ProxyJump"),
    Flow(
        _R.MGMT,
        _O.INTERNET,
        _TCP,
        (443,),
        _C.NAT,
        "package mirrors, identity providers and tailnet coordination behind the proxy",
    ),
    *_each(
        (_R.CONTROL_PLANE, _R.MGMT, _R.VAULT),
        _O.INTERNET,
        _UDP,
        (41641,),
        _C.NAT,
        "direct WireGuard to tailnet peers",
    ),
    Flow(
        _R.MGMT,
        _O.S3,
        _TCP,
        (443,),
        _C.ENDPOINT,
        "package and image objects, through the S3 gateway endpoint",
    ),
    *_each(PLATFORM_ROLES, _R.ENDPOINT, _TCP, (443,), _C.VPC, "SSM, KMS and logs without leaving the VPC"),
)
"""Every row of the platform's own network. It reaches tenants over the tailnet only, so no row leads to one."""


def flows_of(
    *, interface_endpoints: bool, platform: bool = False, several_guards: bool = False
) -> tuple[Flow, ...]:
    """Return the rows that hold; without interface endpoints nothing opens a port to them."""
    table = PLATFORM_FLOWS if platform else FLOWS
    return tuple(
        flow
        for flow in table
        if (interface_endpoints or flow.destination is not Role.ENDPOINT)
        and (several_guards or not flow.several_guards_only)
    )


def roles_of(flows: tuple[Flow, ...]) -> tuple[Role, ...]:
    """Return the roles that take part in some rows, in the order of `Role`."""
    # By kind, not by value alone: the outside's `control-plane` is not the role of that name.
    parties = {p for flow in flows for p in (flow.source, flow.destination) if isinstance(p, Role)}
    return tuple(role for role in Role if role in parties)
