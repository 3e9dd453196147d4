"""How the converge account reaches a tenant's hosts: which way, by which name, under which rules. Pure.

Over the tailnet where the flow table says so, else through the host that the table lets in (mgmt). Hosts are known by
the key that they left when they joined, and by nothing else; the account comes with a certificate of half an hour.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from mutx_infra import naming
from mutx_infra.errors import RefusedError
from mutx_infra.flows import Carrier, Flow, Outside, Role

CONVERGE_ACCOUNT = "mutx"
CERTIFICATE_MINUTES = 30
SSH_PORT = 22
TAILNET_INTERFACE = "tailscale0"
_TAILNET6 = IPv6Address("fd7a:115c:a1e0::")
"""Tailscale's own prefix, of which an address here keeps the last 32 bits."""


class HostTarget(BaseModel):
    """One host, as it is brought in and reached.

    Attributes:
        key: unique in its tenant, e.g. `agent-1`.
        instance: which instance it is at present.
        private_ip: its address in the VPC.
        on_tailnet: it joins the tailnet.
        jump: key of the host that SSH goes through; None where the tailnet leads there.
    """

    model_config = ConfigDict(frozen=True)

    tenant: str
    account: str
    region: str
    key: str
    instance: str
    role: str
    private_ip: IPv4Address
    on_tailnet: bool
    jump: str | None = None

    @property
    def name(self) -> str:
        """Its hostname, and its name for SSH."""
        return naming.host_name(self.tenant, self.key)


class HostKey(BaseModel):
    """The key by which a host is known, and the instance that it was then."""

    model_config = ConfigDict(frozen=True)

    instance: str
    public: str


class SshFiles(BaseModel):
    """What SSH is given, as files."""

    model_config = ConfigDict(frozen=True)

    config: Path
    key: Path
    certificate: Path
    known_hosts: Path


class SshRoute(BaseModel):
    """How tailnet addresses are reached from here: the profile's words."""

    model_config = ConfigDict(frozen=True)

    proxy_command: str | None = None
    passes_descriptor: bool = False
    tailnet_network: IPv4Network | None = None


def targets_of(tenant: str, outputs: Mapping[str, Any], flows: Sequence[Flow]) -> tuple[HostTarget, ...]:
    """Return a tenant's hosts from its stack's outputs, with the way that the flow table gives each."""
    hosts: Mapping[str, Mapping[str, str]] = outputs["hosts"]
    by_role: dict[str, list[str]] = {}
    for key in sorted(hosts):
        by_role.setdefault(hosts[key]["role"], []).append(key)
    tailnet = tailnet_roles(flows)
    found = []
    for key in sorted(hosts):
        role = hosts[key]["role"]
        found.append(
            HostTarget(
                tenant=tenant,
                account=str(outputs["account"]),
                region=str(outputs["region"]),
                key=key,
                instance=hosts[key]["instance_id"],
                role=role,
                private_ip=IPv4Address(hosts[key]["private_ip"]),
                on_tailnet=role in tailnet,
                jump=_jump_to(role, flows, by_role),
            )
        )
    return tuple(found)


def tailnet_roles(flows: Iterable[Flow]) -> frozenset[str]:
    """Return the roles whose hosts the flow table puts on the tailnet: those that something reaches over it."""
    return frozenset(
        str(flow.destination)
        for flow in flows
        if flow.carrier is Carrier.TAILNET and isinstance(flow.destination, Role)
    )


def entered_roles(flows: Iterable[Flow], *, handed_over: bool) -> frozenset[Role]:
    """Return the roles whose hosts the converge account enters: over the tailnet, or through hosts that it enters.

    Args:
        flows: the tenant's rows.
        handed_over: True once the tenant has taken over, which closes the rows that were for building.
    """
    rows = [flow for flow in flows if SSH_PORT in flow.ports and isinstance(flow.destination, Role)]
    still_open = [flow for flow in rows if not (handed_over and flow.before_hand_over_only)]
    entered: set[Role] = set()
    while True:
        further = {
            Role(flow.destination)
            for flow in still_open
            if flow.source is Outside.CONVERGE or (isinstance(flow.source, Role) and flow.source in entered)
        }
        if further <= entered:
            return frozenset(entered)
        entered |= further


def tailnet_address(host: HostTarget, network: IPv4Network) -> IPv4Address:
    """Return a host's fixed address in a tailnet without coordination: its private one, moved into the block.

    Raises:
        RefusedError: the private address has more bits than the block leaves (code `tailnet-address`).
    """
    base = IPv4Network("10.0.0.0/8")
    offset = int(host.private_ip) - int(base.network_address)
    if host.private_ip not in base or offset >= network.num_addresses:
        raise RefusedError(
            f"{host.name} has the address {host.private_ip}, which has no place in the tailnet's block {network}",
            code="tailnet-address",
            remedy="use addresses below 10.64.0.0, or a tailnet with a coordination server",
        )
    return network.network_address + offset


def tailnet_address6(address: IPv4Address) -> IPv6Address:
    """Return the IPv6 address that goes with a fixed one."""
    return _TAILNET6 + int(address)


def render_ssh_config(hosts: Sequence[HostTarget], files: SshFiles, route: SshRoute) -> str:
    """Write an `ssh_config` by which `ssh -F` and Ansible reach exactly these hosts.

    Only keys in `known_hosts` are accepted and nothing is ever learned; only our certificate is shown; no agent, no
    password, no forwarding.
    """
    common = {
        "User": CONVERGE_ACCOUNT,
        "IdentityFile": _quoted(files.key),
        "CertificateFile": _quoted(files.certificate),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": _quoted(files.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "HostKeyAlgorithms": "ssh-ed25519",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "ForwardAgent": "no",
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "LogLevel": "ERROR",
    }
    lines = ["# Written by mutx-infra; it is written anew whenever hosts are brought in."]
    for host in hosts:
        lines += ["", f"Host {host.name}", *_options(_way(host, files, route))]
    lines += ["", "Host *", *_options(common)]
    return "\n".join([*lines, ""])


def render_known_hosts(keys: Mapping[str, HostKey]) -> str:
    """Write a `known_hosts` from keys by host name; the instance stands where SSH has a comment."""
    return "".join(f"{name} {key.public} {key.instance}\n" for name, key in sorted(keys.items()))


def parse_known_hosts(text: str) -> dict[str, HostKey]:
    """Read what `render_known_hosts` wrote."""
    fields = [line.split() for line in text.splitlines()]
    return {name: HostKey(public=f"{kind} {key}", instance=instance) for name, kind, key, instance in fields}


def _way(host: HostTarget, files: SshFiles, route: SshRoute) -> dict[str, str]:
    """Return the options that lead to one host; `HostKeyAlias` looks its key up by name whatever its address is.

    The jump is spelt out: `ProxyJump` hands the path of this file on without quotes (OpenSSH 9.2, ssh.c).
    """
    known = {"HostKeyAlias": host.name}
    if host.jump is not None:
        jump = naming.host_name(host.tenant, host.jump)
        config = shlex.quote(str(files.config)).replace("%", "%%")
        through = f"ssh -F {config} -W '[%h]:%p' {jump}"
        return {"HostName": str(host.private_ip), "ProxyCommand": through, **known}
    address = host.name
    if route.tailnet_network is not None:
        address = str(tailnet_address(host, route.tailnet_network))
    way = {"HostName": address, **known}
    if route.proxy_command is not None:
        way["ProxyCommand"] = route.proxy_command
    if route.passes_descriptor:
        way["ProxyUseFdpass"] = "yes"
    return way


def _jump_to(role: str, flows: Sequence[Flow], by_role: Mapping[str, list[str]]) -> str | None:
    """Return through whom SSH reaches a role; the outside's own rows come first."""
    to_ssh = [flow for flow in flows if str(flow.destination) == role and SSH_PORT in flow.ports]
    if not to_ssh or any(flow.carrier is Carrier.TAILNET for flow in to_ssh):
        return None
    return next((by_role[str(f.source)][0] for f in to_ssh if str(f.source) in by_role), None)


def _options(options: Mapping[str, str]) -> list[str]:
    return [f"    {name} {value}" for name, value in options.items()]


def _quoted(path: Path) -> str:
    """Quote a path for ssh_config, in which `%` starts a token."""
    return '"' + str(path).replace("%", "%%") + '"'
