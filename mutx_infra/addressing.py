"""Tenant blocks and how they are cut: pure arithmetic, run before anything is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network

MAX_ZONES = 4
LARGEST_PREFIX_LENGTH = 16
"""AWS allows no VPC larger than /16 (VPC user guide, "VPC CIDR blocks")."""
EDGE_PREFIX_LENGTH = 28
"""Management and egress subnets are /28, the smallest that AWS allows; 11 of 16 addresses are usable."""
PRIVATE_RANGES = tuple(IPv4Network(r) for r in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
RESERVED_RANGES = tuple(IPv4Network(r) for r in ("172.17.0.0/16",))
"""172.17.0.0/16 is used by AWS services such as Cloud9 and by Docker's default bridge (VPC user guide)."""


class Layer(StrEnum):
    """A row of subnets with a route table and a network ACL of its own."""

    APP = "app"
    MGMT = "mgmt"
    DATA = "data"
    EGRESS = "egress"
    """NAT gateways only; the one layer with a route to the internet gateway. No host ever stands here."""


@dataclass(frozen=True, slots=True)
class SubnetLayout:
    """One tenant block, cut.

    Attributes:
        block: the whole block.
        areas: the part of each layer, so that one CIDR names the layer in a network ACL.
        subnets: each layer's subnets, one per zone, in the zones' order.
    """

    block: IPv4Network
    areas: dict[Layer, IPv4Network]
    subnets: dict[Layer, tuple[IPv4Network, ...]]


class BlockError(ValueError):
    """A block cannot hold a tenant; the text says why."""


class PoolExhaustedError(Exception):
    """No free block of the wanted size is left in the pool."""


def default_prefix_length(zone_count: int) -> int:
    """Return the prefix length a tenant gets when its spec says none: /24 in one zone, /22 in several."""
    return 24 if zone_count == 1 else 22


def smallest_prefix_length(zone_count: int) -> int:
    """Return the longest prefix that still holds all subnets: /25 for one zone, /24 for two, /23 for up to four.

    The lower half's upper half holds two rows (management, egress) of /28s, one per zone; hence
    block = 2 halves × 2 quarters × rows.
    """
    rows = 2 * _power_of_two(zone_count)
    return EDGE_PREFIX_LENGTH - (rows.bit_length() - 1) - 2


def check_block(block: IPv4Network, zone_count: int) -> None:
    """Refuse a block that cannot become a tenant's VPC.

    Raises:
        BlockError: outside RFC 1918, in a range AWS or Docker uses, larger than /16, or too small for the zones.
    """
    if not any(block.subnet_of(private) for private in PRIVATE_RANGES):
        raise BlockError(
            f"{block} is not private address space (10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16)"
        )
    for reserved in RESERVED_RANGES:
        if block.overlaps(reserved):
            raise BlockError(f"{block} overlaps {reserved}, which AWS services and Docker use themselves")
    if block.prefixlen < LARGEST_PREFIX_LENGTH:
        raise BlockError(f"{block} is larger than /{LARGEST_PREFIX_LENGTH}, AWS's limit for a VPC")
    if block.prefixlen > smallest_prefix_length(zone_count):
        wanted = smallest_prefix_length(zone_count)
        raise BlockError(f"{block} is too small: {zone_count} zone(s) need at least a /{wanted}")


def split_block(block: IPv4Network, zone_count: int) -> SubnetLayout:
    """Cut a tenant block into the app, mgmt, egress and data layers, one subnet per zone in each.

    The upper half is data. The lower half's lower half is app; the rest of the lower half has the management
    /28s at its top, the egress /28s below them, and spare room. So 10.0.1.0/24 gives app 10.0.1.0/26, egress
    10.0.1.96/28, mgmt 10.0.1.112/28 and data 10.0.1.128/25. AWS keeps five addresses of each subnet.

    Raises:
        BlockError: the block is too small, too large or not private.

    Source: AWS VPC user guide, "Subnet CIDR blocks"; requirement NET-3.
    """
    if not 1 <= zone_count <= MAX_ZONES:
        raise BlockError(f"{zone_count} zones: between 1 and {MAX_ZONES} are supported")
    check_block(block, zone_count)
    shares = _power_of_two(zone_count)
    lower, data = block.subnets(1)
    app, edge = lower.subnets(1)
    row_prefix = EDGE_PREFIX_LENGTH - (shares.bit_length() - 1)
    rows = list(edge.subnets(new_prefix=row_prefix))
    areas = {Layer.APP: app, Layer.MGMT: rows[-1], Layer.EGRESS: rows[-2], Layer.DATA: data}
    return SubnetLayout(
        block=block,
        areas=areas,
        subnets={layer: tuple(_share(area, shares))[:zone_count] for layer, area in areas.items()},
    )


def first_free_block(pool: IPv4Network, prefix_length: int, taken: Iterable[IPv4Network]) -> IPv4Network:
    """Return the lowest aligned block of the wanted size which overlaps none that is taken.

    Runs in O(n log n) of the taken blocks, whatever the size of the pool.

    Raises:
        PoolExhaustedError: no such block is left.
    """
    size = 1 << (32 - prefix_length)
    candidate = int(pool.network_address)
    end = int(pool.broadcast_address) + 1
    for start, stop in _merged(taken):
        if stop <= candidate:
            continue
        if start >= candidate + size:
            break
        candidate = -(-stop // size) * size
    if candidate + size > end:
        raise PoolExhaustedError(f"no free /{prefix_length} is left in {pool}")
    return IPv4Network((candidate, prefix_length))


def overlapping(block: IPv4Network, others: Iterable[IPv4Network]) -> IPv4Network | None:
    """Return the first of `others` that overlaps `block`, or None."""
    return next((other for other in others if block.overlaps(other)), None)


def _merged(blocks: Iterable[IPv4Network]) -> Iterator[tuple[int, int]]:
    yield from sorted((int(b.network_address), int(b.broadcast_address) + 1) for b in blocks)


def _share(area: IPv4Network, shares: int) -> Sequence[IPv4Network]:
    return list(area.subnets(shares.bit_length() - 1))


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
