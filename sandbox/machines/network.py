"""The networks of the machines: a namespace for each VPC and for the tailnet, a bridge for each subnet, a cable each.

All of it lies in namespaces whose names are in a /run of the laboratory's own: this machine's network is not changed,
and nothing is left when the laboratory ends. Security groups are not enforced here: what a host lets in is its own
firewall's doing, which is what tests look at.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import count
from pathlib import Path

from mutx_sandbox.machines.kernel import inside, run, succeeds
from mutx_sandbox.machines.machine import (
    SERVICES,
    TAILNET_INTERFACE,
    VPC_INTERFACE,
    Machine,
    Wire,
    hardware_address,
    interface_lines,
    ipv6_of,
)

NAMESPACES = Path("/run/netns")
TAILNET = "tailnet"
TAILNET_NETWORK = IPv4Network("100.64.0.0/10")
TAILNET_NETWORK6 = IPv6Network("fd7a:115c:a1e0::/48")
OPERATOR = IPv4Address("100.64.0.1")
"""From where people and the toolkit come; below what addresses of hosts map to."""
OPERATOR6 = IPv6Address("fd7a:115c:a1e0::1")


class Networks:
    """Everything that is wired at the moment."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._bridges: dict[tuple[str, str], str] = {}
        self._vpcs: set[str] = set()
        self._cables: dict[str, list[tuple[str, str]]] = {}

    def vpc(self, name: str) -> bool:
        """Make a VPC's namespace, which is its router and its services; False where it is there."""
        if name in self._vpcs:
            return False
        _add_namespace(name)
        _batch(name, "link set lo up", *(f"address add {service}/32 dev lo" for service in SERVICES))
        inside(NAMESPACES / name, _forward)
        self._vpcs.add(name)
        return True

    def tailnet(self) -> None:
        """Make the tailnet: one bridge, on which every node hears every other; who may speak is not decided here."""
        if (TAILNET, TAILNET) in self._bridges:
            return
        _add_namespace(TAILNET)
        self._bridges[TAILNET, TAILNET] = "t0"
        _batch(
            TAILNET, "link set lo up", _new_bridge("t0", TAILNET, TAILNET), "link set t0 up",
            f"address add {OPERATOR}/{TAILNET_NETWORK.prefixlen} dev t0",
            f"address add {OPERATOR6}/{TAILNET_NETWORK6.prefixlen} dev t0 nodad",
        )  # fmt: skip

    def plug(self, machine: Machine) -> str:
        """Give a machine a namespace with its interfaces; returns its name. One that exists is made anew.

        A container finds `eth0` ready and `tailscale0` down: who joins brings it up. A machine with a kernel of its
        own finds taps, bridged to the same cables.
        """
        self.unplug(machine.name)
        _add_namespace(machine.name)
        cables = [(machine.wire.vpc, self._bridge(machine.wire), VPC_INTERFACE, machine.mac)]
        if machine.tailnet:
            self.tailnet()
            cables.append((TAILNET, "t0", TAILNET_INTERFACE, machine.tailnet_mac))
        for position, (network, bridge, interface, mac) in enumerate(cables):
            if machine.backend == "nspawn":
                self._cable(network, bridge, machine.name, interface, mac)
                continue
            self._cable(network, bridge, machine.name, f"up{position}", None)
            _batch(
                machine.name,
                f"tuntap add mode tap name tap{position}",
                f"link add b{position} type bridge",
                *(f"link set {port}{position} master b{position} up" for port in ("up", "tap")),
                f"link set b{position} up",
            )
        if machine.backend == "nspawn":
            _batch(machine.name, *interface_lines(machine.wire))
        return machine.name

    def unplug(self, name: str) -> None:
        """Remove a machine's or visitor's cables and its namespace.

        The kernel takes a namespace down when nobody uses it any more, and some time after that. Until then whoever has
        its addresses and its place on the wire would answer for a machine that starts again.
        """
        for network, cable in self._cables.pop(name, ()):
            succeeds("ip", "-n", network, "link", "delete", cable)
        if (NAMESPACES / name).exists():
            run("ip", "netns", "delete", name)

    def visit(self, name: str, network: str, subnet: str, addresses: list[str]) -> Path:
        """Plug in a visitor: an empty namespace with `eth0`, for who wants to come from somewhere.

        Args:
            name: of the namespace.
            network: a VPC's name, or `tailnet`.
            subnet: CIDR of the subnet in the VPC; one that no machine is in is made. Ignored for the tailnet.
            addresses: with prefix lengths, of either family.

        Returns:
            The namespace's file, as the laboratory sees it.
        """
        self.unplug(name)
        _add_namespace(name)
        routes: list[str] = []
        if network == TAILNET:
            self.tailnet()
            bridge = "t0"
        else:
            self.vpc(network)
            found = IPv4Network(subnet)
            wire = Wire(vpc=network, block=found, subnet=found, address=found.network_address + 2)
            bridge = self._bridge(wire)
            routes = [
                f"route add default via {wire.gateway}",
                f"route add ::/0 via {ipv6_of(wire.gateway, found)}",
            ]
        # By name: machines remember who has an address, and a visitor may be plugged in again.
        self._cable(network, bridge, name, VPC_INTERFACE, hardware_address(name, network))
        four = any(":" not in address for address in addresses)
        six = any(":" in address for address in addresses)
        wanted = [route for route in routes if (six if "::/0" in route else four)]
        _batch(
            name, "link set lo up",
            *(f"address add {a} dev {VPC_INTERFACE}{' nodad' if ':' in a else ''}" for a in addresses),
            f"link set {VPC_INTERFACE} up", *wanted,
        )  # fmt: skip
        return NAMESPACES / name

    def _bridge(self, wire: Wire) -> str:
        key = (wire.vpc, str(wire.subnet))
        if key not in self._bridges:
            bridge = self._bridges[key] = f"s{next(self._numbers)}"
            _batch(
                wire.vpc,
                _new_bridge(bridge, *key),
                f"address add {wire.gateway}/{wire.subnet.prefixlen} dev {bridge}",
                f"address add {ipv6_of(wire.gateway, wire.subnet)}/64 dev {bridge} nodad",
                f"link set {bridge} up",
            )
        return self._bridges[key]

    def _cable(self, network: str, bridge: str, name: str, interface: str, mac: str | None) -> None:
        here = f"c{next(self._numbers)}"
        hardware = f" address {mac}" if mac else ""
        _batch(
            network,
            f"link add {here} type veth peer name {interface}{hardware} netns {name}",
            f"link set {here} master {bridge} up",
        )
        self._cables.setdefault(name, []).append((network, here))


def _new_bridge(name: str, network: str, subnet: str) -> str:
    """Say how to make a bridge with a hardware address of its own.

    Without one it has the lowest of its cables', another one when that cable goes; its neighbours send into the void
    until they ask again.
    """
    return f"link add {name} address {hardware_address(network, subnet)} type bridge"


def _add_namespace(name: str) -> None:
    run("ip", "netns", "add", name)


def _batch(namespace: str, *lines: str) -> None:
    run("ip", "-n", namespace, "-batch", "-", stdin="\n".join([*lines, ""]))


def _forward() -> None:
    for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", setting).write_text("1", encoding="ascii")
