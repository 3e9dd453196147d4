"""Which host of a tenant runs which node of its Vault, and which logs in to it: as plans, a host each. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from mutx_infra.byok import Product, Seal
from mutx_infra.flows import Role
from mutx_infra.vault.agent import AgentPlan, make_agent_plan
from mutx_infra.vault.layout import VaultLayout
from mutx_infra.vault.server import API_PORT, ServerPlan

MACHINE_ROLES = (Role.AGENT, Role.GUARD, Role.DATABASE)
"""Whose hosts log in to the Vault: the flow table's sources of its API inside the VPC."""


@dataclass(frozen=True, slots=True)
class VaultTerms:
    """What is the tenant's own about its Vault, and what is known of its hosts so far.

    Attributes:
        layout: what the first node makes when it starts for the first time.
        seal: the tenant's key.
        authorities: PEM of each Vault host's own authority, by its name; empty until they have made them.
        certificates: PEM that the tenant's administrator signed, by the name of the host whose request it was.
        seal_token_file: on this machine, with the token for a transit key; empty where the Vault's hosts have it.
        product: which server it is.
        seal_plugin: digest of OpenBao's plugin for AWS KMS, 64 hex digits; empty where the hosts have none.
    """

    layout: VaultLayout
    seal: Seal
    authorities: Mapping[str, str] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict)
    seal_token_file: str = ""
    product: Product = Product.OPENBAO
    seal_plugin: str = ""

    @property
    def known_by(self) -> str:
        """Return the authorities of all nodes in one text; empty while none is known."""
        return "".join(f"{self.authorities[name].strip()}\n" for name in sorted(self.authorities))


@dataclass(frozen=True, slots=True)
class VaultHost:
    """A host as its plans see it: its name, its key in the tenant, its role and its address in the VPC."""

    name: str
    key: str
    role: Role
    address: IPv4Address


def server_plan(host: VaultHost, hosts: Sequence[VaultHost], terms: VaultTerms) -> ServerPlan | None:
    """Return the node that a host runs; None where it runs none.

    The first of the Vault's hosts makes the Vault; the others join it.
    """
    if host.role is not Role.VAULT:
        return None
    nodes = _nodes(hosts)
    return ServerPlan(
        tenant=terms.layout.tenant,
        node=host.name,
        address=host.address,
        seal=terms.seal,
        layout=terms.layout if host == nodes[0] else None,
        peers=tuple(node.address for node in nodes if node != host),
        product=terms.product,
        seal_plugin=terms.seal_plugin,
    )


def agent_plan(host: VaultHost, hosts: Sequence[VaultHost], *, agent_group: int) -> AgentPlan | None:
    """Return how a host logs in to the Vault; None where it does not.

    Args:
        host: the one that is asked for.
        hosts: all hosts of the tenant.
        agent_group: number of the group that an agent runs under.
    """
    nodes = _nodes(hosts)
    if host.role not in MACHINE_ROLES or not nodes:
        return None
    servers = [f"https://{node.address}:{API_PORT}" for node in nodes]
    return make_agent_plan(host.role, host.name, host.key, servers, agent_group=agent_group)


def _nodes(hosts: Sequence[VaultHost]) -> list[VaultHost]:
    """Return the Vault's hosts by their number."""
    nodes = (host for host in hosts if host.role is Role.VAULT)
    return sorted(nodes, key=lambda host: (len(host.key), host.key))
