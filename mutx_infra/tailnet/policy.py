"""The tailnet's policy file as a value: read from the vendor's JSON, written in a stable order.

Sections and fields are those of Tailscale's reference "Syntax reference for the tailnet policy file". What decides who
reaches whom is read and understood, or refused by name; what does not (node attributes, approvers) is kept as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType
from typing import Any, NoReturn

from mutx_infra.errors import RefusedError

ANY = "*"
TAG, GROUP, AUTOGROUP, IPSET = "tag:", "group:", "autogroup:", "ipset:"
MEMBER, TAGGED, SELF, INTERNET = (
    "autogroup:member",
    "autogroup:tagged",
    "autogroup:self",
    "autogroup:internet",
)
DANGER_ALL = "autogroup:danger-all"
"""Everybody, from outside the tailnet too."""
USER_DOMAIN = "user:*@"
"""What stands before a domain for every user of it."""
_AUTOGROUPS = frozenset({MEMBER, TAGGED, SELF, INTERNET, DANGER_ALL})
_EVERYWHERE = frozenset({"0.0.0.0/0", "::/0"})
_KEPT = ("nodeAttrs", "autoApprovers", "derpMap", "disableIPv4", "randomizeClientPort", "OneCGNATRoute")
_READ = ("groups", "hosts", "ipsets", "tagOwners", "postures", "grants", "acls", "ssh", "tests", "sshTests")
PROTOCOLS = MappingProxyType(
    {"icmp": 1, "igmp": 2, "ipv4": 4, "ip-in-ip": 4, "tcp": 6, "egp": 8, "igp": 9, "udp": 17, "gre": 47, "esp": 50,
     "ah": 51, "ipv6-icmp": 58, "sctp": 132}
)  # fmt: skip
"""Names that a policy may use for IP protocols, with IANA's numbers."""
UNSAID = (6, 17, 1, 58)
"""TCP, UDP and ICMP: what a rule means that names no protocol."""
TESTED_UNSAID = (6, 17)
"""TCP or UDP: what a test means that names no protocol."""
_WITH_PORTS = frozenset({6, 17, 132})
_LAST_PORT = 65535

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class PortRange:
    """What one entry of a grant's `ip` opens.

    Attributes:
        protocols: IANA's numbers.
        first, last: ports, for the protocols that have some.
    """

    protocols: tuple[int, ...]
    first: int = 0
    last: int = _LAST_PORT

    def holds(self, protocol: int, port: int) -> bool:
        """Say whether a packet matches; a protocol without ports matches whatever the ports are."""
        return protocol in self.protocols and (protocol not in _WITH_PORTS or self.first <= port <= self.last)


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may open connections to whom.

    Attributes:
        sources, destinations: selectors.
        ip: entries such as `tcp:443`, as they are written.
        posture: names of postures of which a source's device must meet one.
        place: where it stands, e.g. `grants[3]`.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    ip: tuple[str, ...]
    posture: tuple[str, ...] = ()
    place: str = ""

    @property
    def content(self) -> tuple[tuple[str, ...], ...]:
        """What it says, whatever the order and wherever it stands."""
        return tuple(tuple(sorted(part)) for part in (self.sources, self.destinations, self.ip, self.posture))

    def ranges(self) -> tuple[PortRange, ...]:
        """Return what `ip` opens."""
        return tuple(parse_ip(entry, self.place) for entry in self.ip)

    def document(self) -> dict[str, Any]:
        """Return it as the policy file has it."""
        written: dict[str, Any] = {
            "src": list(self.sources),
            "dst": list(self.destinations),
            "ip": list(self.ip),
        }
        if self.posture:
            written["srcPosture"] = list(self.posture)
        return written


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """What must stay as it is: `accept` and `deny` are destinations with ports, e.g. `tag:t-acme-guard:8443`."""

    source: str
    accept: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    protocol: str = ""
    attributes: Mapping[str, object] = field(default_factory=dict)
    place: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as the policy file has it."""
        written: dict[str, Any] = {"src": self.source}
        if self.protocol:
            written["proto"] = self.protocol
        if self.attributes:
            written["srcPostureAttrs"] = dict(self.attributes)
        if self.accept:
            written["accept"] = list(self.accept)
        if self.deny:
            written["deny"] = list(self.deny)
        return written


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy. `rest` holds sections that decide nothing here, as they came."""

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tag_owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    ipsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    postures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    tests: tuple[PolicyTest, ...] = ()
    ssh: tuple[Mapping[str, Any], ...] = ()
    ssh_tests: tuple[Mapping[str, Any], ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the policy file as JSON has it; empty sections are left out."""
        sections: dict[str, Any] = {
            "groups": {name: list(members) for name, members in self.groups.items()},
            "hosts": dict(self.hosts),
            "ipsets": {name: list(members) for name, members in self.ipsets.items()},
            "postures": {name: list(terms) for name, terms in self.postures.items()},
            "tagOwners": {name: list(owners) for name, owners in self.tag_owners.items()},
            "grants": [grant.document() for grant in self.grants],
            "ssh": [dict(rule) for rule in self.ssh],
            "tests": [test.document() for test in self.tests],
            "sshTests": [dict(test) for test in self.ssh_tests],
            **self.rest,
        }
        return {name: content for name, content in sections.items() if content not in ({}, [])}

    def text(self) -> str:
        """Return the policy file: one entry a line, so that a tenant's change touches the tenant's lines alone."""
        return "".join(_lines(self.document()))


def read_policy(text: str) -> Policy:
    """Read a policy file that is plain JSON, as the API gives it for `Accept: application/json`.

    Raises:
        RefusedError: it cannot be understood (`tailnet-policy-invalid`), or uses what may decide about access and is
            not known here (`tailnet-policy-unsupported`).
    """
    try:
        document = json.loads(text)
    except ValueError as exc:
        _refuse("the policy", f"no JSON: {exc}")
    if not isinstance(document, dict):
        _refuse("the policy", "an object is wanted")
    for section in document:
        if section not in _READ and section not in _KEPT:
            _unsupported(section)
    acls = tuple(g for n, entry in enumerate(_list(document, "acls")) for g in _of_acl(entry, f"acls[{n}]"))
    policy = Policy(
        groups=_named(document, "groups", GROUP),
        tag_owners=_named(document, "tagOwners", TAG),
        hosts={name: _text(value, f"hosts.{name}") for name, value in _object(document, "hosts").items()},
        ipsets=_named(document, "ipsets", IPSET),
        postures=_named(document, "postures", "posture:"),
        grants=acls + tuple(_grant(e, f"grants[{n}]") for n, e in enumerate(_list(document, "grants"))),
        tests=tuple(_test(entry, f"tests[{n}]") for n, entry in enumerate(_list(document, "tests"))),
        ssh=tuple(_list(document, "ssh")),
        ssh_tests=tuple(_list(document, "sshTests")),
        rest={name: document[name] for name in _KEPT if name in document},
    )
    for grant in policy.grants:
        check_grant(policy, grant)
    return policy


def check_grant(policy: Policy, grant: Grant) -> None:
    """Refuse a grant that names what the policy does not define, or opens what cannot be read.

    Raises:
        RefusedError: as `read_policy`.
    """
    for selector in (*grant.sources, *grant.destinations):
        if selector.startswith(AUTOGROUP):
            if selector not in _AUTOGROUPS:
                _unsupported(f"{selector} in {grant.place}")
        elif not _is_defined(policy, selector):
            _refuse(grant.place, f"{selector} is not defined in the policy")
    _check_meaning(grant)
    for posture in grant.posture:
        if posture not in policy.postures:
            _refuse(grant.place, f"{posture} is not defined in the policy")
    grant.ranges()


def _check_meaning(grant: Grant) -> None:
    """Refuse what every selector of it would allow and Tailscale does not."""
    if SELF in grant.sources:
        _refuse(grant.place, f"{SELF} is no source")
    if SELF in grant.destinations:
        # The older `acls` may say so for everybody, grants may not.
        general = (MEMBER,) if grant.place.startswith("grants") else (MEMBER, ANY)
        for source in grant.sources:
            if not (source in general or source.startswith(GROUP) or "@" in source):
                _refuse(grant.place, f"{SELF} is for users and groups, not for {source}")
    if DANGER_ALL in grant.destinations:
        _refuse(grant.place, f"{DANGER_ALL} is no destination")
    if everywhere := _EVERYWHERE.intersection(grant.destinations):
        _refuse(grant.place, f"{min(everywhere)} is no destination; {ANY} or {INTERNET} is")


def protocols_of(name: str, place: str = "") -> tuple[int, ...]:
    """Return the numbers that a protocol's name, or its number, stands for.

    Raises:
        RefusedError: there is no such protocol (`tailnet-policy-invalid`).
    """
    if name.isdecimal() and int(name) < 256:  # noqa: PLR2004 - a byte
        return (int(name),)
    if name not in PROTOCOLS:
        _refuse(place, f"there is no protocol {name}")
    # A policy says icmp for both families.
    return (PROTOCOLS[name], PROTOCOLS["ipv6-icmp"]) if name == "icmp" else (PROTOCOLS[name],)


def parse_ip(entry: str, place: str = "") -> PortRange:
    """Read an entry of a grant's `ip`: `*`, `443`, `80-90`, `tcp:443`, `udp:*`, `icmp:*` or `47:*`.

    Raises:
        RefusedError: it is none of these (`tailnet-policy-invalid`).
    """
    name, colon, ports = entry.rpartition(":")
    protocols = protocols_of(name, place) if colon else UNSAID
    if ports == ANY:
        return PortRange(protocols)
    first, dash, last = ports.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        _refuse(place, f"{entry!r} is no protocol and port")
    low, high = int(first), int(last or first)
    if not 0 < low <= high <= _LAST_PORT:
        _refuse(place, f"{entry!r} is no range of ports")
    return PortRange(protocols, low, high)


def networks_of(policy: Policy, selector: str) -> tuple[Network, ...]:
    """Return the addresses that a selector means by itself: an address, a network, a host's name or an IP set."""
    if selector.startswith(IPSET):
        return tuple(n for member in policy.ipsets.get(selector, ()) for n in networks_of(policy, member))
    text = policy.hosts.get(selector, selector)
    try:
        return (ip_network(text, strict=False),)
    except ValueError:
        return ()


def split_target(target: str, place: str) -> tuple[str, int]:
    """Split a test's destination into selector and port.

    Raises:
        RefusedError: it has no single port (`tailnet-policy-invalid`).
    """
    found = selector_and_port(target)
    if found is None:
        _refuse(place, f"{target!r} is no destination with one port")
    return found


def selector_and_port(target: str) -> tuple[str, int] | None:
    """Split e.g. `tag:t-acme-guard:8443` or `[fd7a::1]:22`; None where it has no single port."""
    selector, colon, port = target.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > _LAST_PORT:
        return None
    return selector.removeprefix("[").removesuffix("]"), int(port)


def _is_defined(policy: Policy, selector: str) -> bool:
    if selector == ANY:
        return True
    for prefix, known in ((TAG, policy.tag_owners), (GROUP, policy.groups), (IPSET, policy.ipsets)):
        if selector.startswith(prefix):
            return selector in known
    return "@" in selector or bool(networks_of(policy, selector))


def _grant(entry: object, place: str) -> Grant:
    fields = _fields(entry, place, {"src", "dst", "ip", "app", "srcPosture", "via"})
    if fields.get("via"):
        _unsupported(f"via in {place}")
    if not (fields.get("ip") or fields.get("app")):
        _refuse(place, "neither ip nor app says what is granted")
    return Grant(
        _texts(fields.get("src", []), f"{place}.src"),
        _texts(fields.get("dst", []), f"{place}.dst"),
        _texts(fields.get("ip", []), f"{place}.ip"),
        _texts(fields.get("srcPosture", []), f"{place}.srcPosture"),
        place,
    )


def _of_acl(entry: object, place: str) -> Iterator[Grant]:
    """Read an entry of the older `acls`, whose destinations carry their ports: a grant for each list of ports."""
    fields = _fields(entry, place, {"action", "src", "proto", "dst", "srcPosture"})
    if fields.get("action") != "accept":
        _refuse(place, "the only action is accept")
    protocol = str(fields.get("proto", ""))
    by_ports: dict[str, list[str]] = {}
    for target in _texts(fields.get("dst", []), f"{place}.dst"):
        selector, _, ports = target.rpartition(":")
        by_ports.setdefault(ports, []).append(selector.removeprefix("[").removesuffix("]"))
    for ports, selectors in by_ports.items():
        yield Grant(
            _texts(fields.get("src", []), f"{place}.src"),
            tuple(selectors),
            tuple(f"{protocol}:{port}" if protocol else port for port in ports.split(",")),
            _texts(fields.get("srcPosture", []), f"{place}.srcPosture"),
            place,
        )


def _test(entry: object, place: str) -> PolicyTest:
    fields = _fields(entry, place, {"src", "proto", "accept", "deny", "srcPostureAttrs"})
    protocol = _text(fields.get("proto", ""), f"{place}.proto")
    if protocol:
        protocols_of(protocol, place)
    attributes = fields.get("srcPostureAttrs") or {}
    if not isinstance(attributes, dict):
        _refuse(f"{place}.srcPostureAttrs", "an object is wanted")
    return PolicyTest(
        _text(fields.get("src"), f"{place}.src"),
        _texts(fields.get("accept") or [], f"{place}.accept"),
        _texts(fields.get("deny") or [], f"{place}.deny"),
        protocol,
        attributes,
        place,
    )


def _fields(entry: object, place: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(entry, dict):
        _refuse(place, "an object is wanted")
    for name in entry:
        if name not in known:
            _unsupported(f"{name} in {place}")
    return entry


def _object(document: Mapping[str, Any], section: str) -> dict[str, Any]:
    found = document.get(section) or {}
    if not isinstance(found, dict):
        _refuse(section, "an object is wanted")
    return found


def _list(document: Mapping[str, Any], section: str) -> list[Any]:
    found = document.get(section) or []
    if not isinstance(found, list):
        _refuse(section, "a list is wanted")
    return found


def _named(document: Mapping[str, Any], section: str, prefix: str) -> dict[str, tuple[str, ...]]:
    found = _object(document, section)
    for name in found:
        if not name.startswith(prefix):
            _refuse(section, f"{name!r} does not begin with {prefix}")
    return {name: _texts(members or [], f"{section}.{name}") for name, members in found.items()}


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        _refuse(place, "a string is wanted")
    return value


def _texts(values: object, place: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        _refuse(place, "a list of strings is wanted")
    return tuple(values)


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield "{\n"
    last = len(document) - 1
    for number, (name, content) in enumerate(document.items()):
        comma = "," if number < last else ""
        if not isinstance(content, dict | list):
            yield f"  {json.dumps(name)}: {json.dumps(content)}{comma}\n"
            continue
        if isinstance(content, dict):
            opening, closing = "{", "}"
            entries = [f"{_compact(key)}: {_compact(value)}" for key, value in content.items()]
        else:
            opening, closing = "[", "]"
            entries = [_compact(value) for value in content]
        yield f"  {json.dumps(name)}: {opening}\n"
        yield ",\n".join(f"    {entry}" for entry in entries)
        yield f"\n  {closing}{comma}\n"
    yield "}\n"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _refuse(place: str, what: str) -> NoReturn:
    raise RefusedError(
        f"the tailnet's policy cannot be read: {what}",
        code="tailnet-policy-invalid",
        remedy="correct it there; a policy that this toolkit wrote has no such place",
        detail=f"in {place}",
    )


def _unsupported(what: str) -> NoReturn:
    raise RefusedError(
        f"the tailnet's policy uses {what}, about which no answer can be given",
        code="tailnet-policy-unsupported",
        remedy="take it out of the policy, or ask Tailscale's own preview of the policy",
    )
