"""What the unit's environment says of the egress: where it listens, whose rules hold, and its bounds."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from mutx_service.settings import Environment, TlsFiles

from mutx_guardrail.egress.rules import Rules, read_rules

PREFIX = "MUTX_GUARDRAIL_EGRESS_"
TLS_VARIABLE, RULES_VARIABLE = f"{PREFIX}TLS_CERTIFICATE", f"{PREFIX}RULES"

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of everything. Times are seconds, sizes bytes, windows characters.

    `head_s` and `body_s` are for a request's head and body, `rest_s` for a connection between two requests.
    """

    connections: int
    connections_of_one: int
    tunnels: int
    tunnels_of_one: int
    head_s: int
    body_s: int
    rest_s: int
    connect_s: int
    idle_s: int
    tunnel_s: int
    call_s: int
    stop_s: int
    request_bytes: int
    answer_bytes: int
    window: int


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """The egress as its unit describes it.

    Attributes:
        inner: addresses that tunnels may reach although they are not public; for tests.
        ports: the ports that tunnels may go to.
    """

    host: str
    port: int
    tls: TlsFiles
    rules: Rules
    inner: frozenset[Address]
    ports: frozenset[int]
    bounds: Bounds


KNOWN = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "HOST", "PORT", "TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA", "RULES", "INNER_ADDRESSES", "PORTS",
        "MAX_CONNECTIONS", "MAX_CONNECTIONS_OF_ONE", "MAX_TUNNELS", "MAX_TUNNELS_OF_ONE", "CONNECT_LIMIT_S",
        "HEAD_LIMIT_S", "BODY_LIMIT_S", "REST_LIMIT_S",
        "IDLE_LIMIT_S", "TUNNEL_LIMIT_S", "CALL_LIMIT_S", "STOP_LIMIT_S", "MAX_REQUEST_BYTES", "MAX_ANSWER_BYTES",
        "WINDOW",
    )
)  # fmt: skip


def read_egress_settings(variables: Mapping[str, str]) -> EgressSettings:
    """Build the settings from an environment.

    Raises:
        SettingsError: a variable is unknown, missing or malformed, or the rules are wrong.
    """
    get = Environment(variables, PREFIX)
    get.refuse_unknown(KNOWN)
    tls = get.tls("TLS_CERTIFICATE", "TLS_KEY", "TLS_CLIENT_CA")
    rules = get.file("RULES")
    if tls is None:
        raise get.error(
            "TLS_CERTIFICATE", "is not set", "an agent is known by its certificate: set all three"
        )
    if rules is None:
        raise get.error("RULES", "is not set", "name the file that says which agent may go where")
    return EgressSettings(
        host=get.host("HOST", needs_loopback=False),
        port=get.number("PORT", 8444, lowest=0, highest=65535),
        tls=tls,
        rules=read_rules(rules, RULES_VARIABLE),
        inner=_addresses(get, "INNER_ADDRESSES"),
        ports=_ports(get, "PORTS"),
        bounds=Bounds(
            connections=get.number("MAX_CONNECTIONS", 1024, highest=65536),
            connections_of_one=get.number("MAX_CONNECTIONS_OF_ONE", 128, highest=65536),
            tunnels=get.number("MAX_TUNNELS", 512, highest=65536),
            tunnels_of_one=get.number("MAX_TUNNELS_OF_ONE", 64, highest=65536),
            head_s=get.number("HEAD_LIMIT_S", 10, highest=120),
            body_s=get.number("BODY_LIMIT_S", 30, highest=600),
            rest_s=get.number("REST_LIMIT_S", 60, highest=3600),
            connect_s=get.number("CONNECT_LIMIT_S", 10, highest=120),
            idle_s=get.number("IDLE_LIMIT_S", 300, highest=3600),
            tunnel_s=get.number("TUNNEL_LIMIT_S", 3600, highest=86_400),
            call_s=get.number("CALL_LIMIT_S", 600, highest=3600),
            stop_s=get.number("STOP_LIMIT_S", 30, lowest=0, highest=3600),
            request_bytes=get.number("MAX_REQUEST_BYTES", 4 << 20, highest=64 << 20),
            answer_bytes=get.number("MAX_ANSWER_BYTES", 16 << 20, highest=256 << 20),
            window=get.number("WINDOW", 200, lowest=16, highest=65536),
        ),
    )


def _addresses(get: Environment, name: str) -> frozenset[Address]:
    try:
        return frozenset(ipaddress.ip_address(word) for word in get.words(name))
    except ValueError:
        raise get.error(name, "holds what is no address", "use IP addresses, parted by spaces") from None


def _ports(get: Environment, name: str) -> frozenset[int]:
    words = get.words(name) or {"443"}
    if not all(word.isascii() and word.isdigit() and 0 < int(word[:6]) < 65536 for word in words):  # noqa: PLR2004
        raise get.error(name, "holds what is no port", "use numbers from 1 to 65535, parted by spaces")
    return frozenset(int(word) for word in words)
