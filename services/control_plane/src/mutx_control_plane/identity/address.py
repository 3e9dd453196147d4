"""Where a request comes from, when proxies stand between: never what the sender wrote of himself."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_MOST_HOPS = 16
_SITE = 64
"""A site of IPv6 has at least so many bits for itself: its addresses are one caller."""


def client_address(peer: str, forwarded: Sequence[str], proxies: Collection[Network]) -> str:
    """Return the caller's address, IPv6's as its network of 64 bits.

    Each proxy writes at the right whom it heard; so, from the right, the first address that is no proxy of ours was
    seen by one, and what stands left of it was written by nobody we know.

    Args:
        peer: at the other end of the connection; a text that is no address, as of a unix socket, counts as it is.
        forwarded: every `X-Forwarded-For` header, in their order.
        proxies: those who may say whom they heard.
    """
    seen = _parse(peer)
    if seen is None:
        return peer
    hops = [hop.strip() for header in forwarded for hop in header.split(",")][-_MOST_HOPS:]
    while hops and any(seen in network for network in proxies):
        told = _parse(hops.pop())
        if told is None:
            break
        seen = told
    return _caller(seen)


def _parse(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _caller(address: _Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), _SITE), strict=False))
