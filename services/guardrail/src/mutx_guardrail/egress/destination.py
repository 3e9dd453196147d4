"""Where a tunnel leads: a permitted name, resolved here and once, to addresses that are public.

A name that resolves to any address that is not public is refused whole: who answers so means to reach inside. The
connection is made to an address that was looked at, so a second answer of the name server changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from mutx_service.problem import Problem

from mutx_guardrail.egress.rules import HOST_NAME, is_permitted
from mutx_guardrail.egress.settings import Address

Resolve = Callable[[str, int], Awaitable[list[str]]]

_TARGET = re.compile(r"([A-Za-z0-9.-]{1,253}):([1-9][0-9]{0,4})")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """A host's name in lower case, and a port."""

    host: str
    port: int


def parse_target(text: str, patterns: tuple[str, ...], ports: Collection[int]) -> Target:
    """Return the target of a CONNECT.

    Raises:
        Problem: `target-invalid`, or `target-refused` where the agent may not go there.
    """
    found = _TARGET.fullmatch(text)
    if found is None:
        raise Problem("target-invalid")
    target = Target(found[1].lower(), int(found[2]))
    if not HOST_NAME.fullmatch(target.host) or target.port not in ports:
        raise Problem("target-refused")
    if not is_permitted(target.host, patterns):
        raise Problem("target-refused")
    return target


def is_public(address: Address) -> bool:
    """Say whether an address is one of the Internet's, also where IPv6 carries one of IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return is_public(inside)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


async def resolve(host: str, port: int) -> list[str]:
    """Return a name's addresses as the system's resolver gives them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Dialer:
    """Makes connections to targets.

    Args:
        inner: addresses that are let pass although they are not public.
        limit_s: for the name and the connection together.
    """

    def __init__(self, inner: frozenset[Address], limit_s: float, resolve: Resolve = resolve) -> None:
        self._inner, self._limit_s, self._resolve = inner, limit_s, resolve

    async def dial(self, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection to one of the target's addresses, the first that answers.

        Raises:
            Problem: `target-unknown`, `address-refused`, `target-unreachable` or `target-slow`.
        """
        try:
            async with asyncio.timeout(self._limit_s):
                return await self._connect(await self._addresses(target), target.port)
        except TimeoutError:
            raise Problem("target-slow") from None

    async def _addresses(self, target: Target) -> list[Address]:
        try:
            found = [
                ipaddress.ip_address(each.partition("%")[0])
                for each in await self._resolve(target.host, target.port)
            ]
        except (OSError, ValueError):
            raise Problem("target-unknown") from None
        if not found:
            raise Problem("target-unknown")
        if not all(is_public(each) or each in self._inner for each in found):
            raise Problem("address-refused")
        return found

    async def _connect(
        self, addresses: list[Address], port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for address in addresses:
            try:
                return await asyncio.open_connection(str(address), port)
            except TimeoutError:
                # The kernel's; the other addresses may answer.
                continue
            except OSError:
                continue
        raise Problem("target-unreachable")
