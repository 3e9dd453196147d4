"""What a machine is, in the words that the commands and the laboratory exchange."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from mutx_sandbox.machines.packages import SUITE
from mutx_sandbox.machines.recipe import AWS_ADDRESS, COORDINATION_ADDRESS
from pydantic import BaseModel, ConfigDict

METADATA_ADDRESS = "169.254.169.254"
TAILNET_INTERFACE = "tailscale0"
VPC_INTERFACE = "eth0"
RESTART_STATUS = 133
"""How a backend says that the machine wants to be started again (systemd-nspawn(1))."""
_LINK_LOCAL = "169.254.0.0/16"
_ULA = 0xFD6D7574 << 96
"""fd6d:7574::/32: a subnet's IPv6 network continues with its IPv4 address, and a host's ends with its own."""


class BackendName(StrEnum):
    """What a machine runs on."""

    NSPAWN = "nspawn"
    UML = "uml"
    QEMU = "qemu"


class Wire(BaseModel):
    """Where a machine is plugged in.

    Attributes:
        vpc: name of its network; nothing leads from one to another.
        block: all of its network.
        way_out: has a default route; where False, only the network itself and the link-local services.
    """

    model_config = ConfigDict(frozen=True)

    vpc: str
    block: IPv4Network
    subnet: IPv4Network
    address: IPv4Address
    way_out: bool = True

    @property
    def gateway(self) -> IPv4Address:
        """The subnet's first address is its router's, as in a VPC."""
        return self.subnet.network_address + 1

    @property
    def address6(self) -> IPv6Address:
        """Where the machine is reached by IPv6."""
        return ipv6_of(self.address, self.subnet)


class Machine(BaseModel):
    """One machine to run.

    Attributes:
        name: unique in the sandbox, e.g. `acme-agent-1`; its hostname until it has joined.
        instance, account, region: the instance of the cloud that it is.
        tailnet: has an interface to the tailnet.
        release: of Debian.
        accelerated: QEMU may leave the processor to KVM.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    instance: str
    account: str
    region: str
    wire: Wire
    tailnet: bool
    backend: BackendName = BackendName.NSPAWN
    memory_mib: int = 512
    release: str = SUITE
    accelerated: bool = False

    @property
    def identity(self) -> str:
        """What its disk is of: another instance or another release gets a new one."""
        return self.instance if self.release == SUITE else f"{self.instance} {self.release}"

    @property
    def mac(self) -> str:
        """Hardware address of the VPC's interface: the same after every start."""
        return hardware_address(self.instance, VPC_INTERFACE)

    @property
    def tailnet_mac(self) -> str:
        """Hardware address of the tailnet's interface."""
        return hardware_address(self.instance, TAILNET_INTERFACE)


class MachineState(BaseModel):
    """How a machine is doing.

    Attributes:
        state: `running`, or `stopped` with the reason in `remark`.
        boots: how often it was started.
        memory_mib: what its processes hold, shared pages counted by share.
    """

    model_config = ConfigDict(frozen=True)

    machine: Machine
    state: str
    boots: int
    memory_mib: float = 0.0
    remark: str = ""


def ipv6_of(address: IPv4Address, subnet: IPv4Network) -> IPv6Address:
    """Return the IPv6 address that stands for an IPv4 address of a subnet."""
    return IPv6Address(_ULA | int(subnet.network_address) << 64 | int(address))


def ipv6_network_of(subnet: IPv4Network) -> IPv6Network:
    """Return a subnet's IPv6 network."""
    return IPv6Network((_ULA | int(subnet.network_address) << 64, 64))


def interface_lines(wire: Wire) -> list[str]:
    """Return what gives a machine's interface its addresses and routes, as lines of `ip -batch`."""
    gateway6 = ipv6_of(wire.gateway, wire.subnet)
    far = [("default", "::/0")] if wire.way_out else [(str(wire.block), str(IPv6Network((_ULA, 32))))]
    return [
        "link set lo up",
        f"address add {wire.address}/{wire.subnet.prefixlen} dev {VPC_INTERFACE}",
        f"address add {wire.address6}/64 dev {VPC_INTERFACE} nodad",
        f"link set {VPC_INTERFACE} up",
        f"route add {_LINK_LOCAL} via {wire.gateway}",
        *(f"route replace {four} via {wire.gateway}" for four, _ in far),
        *(f"route replace {six} via {gateway6}" for _, six in far),
    ]


SERVICES = (METADATA_ADDRESS, AWS_ADDRESS, COORDINATION_ADDRESS)
"""What every network has beside its machines."""


def hardware_address(*parts: str) -> str:
    """Return the address that belongs to a name, always the same."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))
