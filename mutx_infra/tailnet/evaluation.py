"""What a policy lets through: who reaches whom and by which grant, whether its tests hold, and every node's filter.

Grants only add (there is no rule that denies), so an answer is the first grant that matches. Nothing here asks a
network; the unit tests hold the answers against a naive reading of the same policy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address

from mutx_infra.tailnet.policy import (
    ANY,
    DANGER_ALL,
    GROUP,
    INTERNET,
    MEMBER,
    SELF,
    TAG,
    TAGGED,
    TESTED_UNSAID,
    USER_DOMAIN,
    Grant,
    Network,
    Policy,
    PolicyTest,
    PortRange,
    networks_of,
    protocols_of,
    split_target,
)
from mutx_infra.tailnet.posture import meets

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Identity:
    """What the policy sees of a device, or of who a question is about.

    Attributes:
        user: whose it is; empty for a device with tags.
        tags: with their prefix, e.g. `tag:t-acme-guard`.
        groups: whose member is asked about without a name; a user's own groups are known by the policy.
        addresses: in the tailnet.
        attributes: of posture, by name.
    """

    user: str = ""
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a connection opens.

    Attributes:
        grant: the first one that opens it; None where none does.
        lacking: grants that would, did the source's device meet their posture.
    """

    grant: Grant | None
    lacking: tuple[Grant, ...] = ()

    @property
    def is_open(self) -> bool:
        """True where some grant opens it."""
        return self.grant is not None


@dataclass(frozen=True, slots=True)
class FilterRule:
    """One rule of a node's packet filter: these sources reach these ports of it."""

    sources: tuple[Address, ...]
    ports: PortRange


@dataclass(frozen=True, slots=True)
class _Party:
    """Somebody, with every selector that means them."""

    identity: Identity
    names: Mapping[str, None]

    def is_among(self, selectors: Sequence[str], but: str = "") -> bool:
        return any(selector in self.names and selector != but for selector in selectors)


class Evaluator:
    """A policy, ready to be asked. An answer takes time by the grants that name its parties, not by all grants."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._groups_of: dict[str, list[str]] = defaultdict(list)
        for group, members in policy.groups.items():
            for member in members:
                self._groups_of[member].append(group)
        self._by_destination = self._index(grant.destinations for grant in policy.grants)
        self._by_source = self._index(grant.sources for grant in policy.grants)
        self._ranges: dict[tuple[str, ...], tuple[PortRange, ...]] = {}

    def reach(self, source: Identity, destination: Identity, protocol: int, port: int) -> Answer:
        """Say whether a source may open a connection to a port of a destination.

        Args:
            source: as `identity` returns it, or a device as it is.
            destination: likewise.
            protocol: IANA's number.
            port: left aside for a protocol without ports.
        """
        return self._answer(self._party(source), self._party(destination), (protocol,), port)

    def identity(self, selector: str, attributes: Mapping[str, object] | None = None) -> Identity:
        """Return who is meant by a test's source or destination: a tag, a user, any member of a group, a host."""
        known = attributes or {}
        if selector.startswith(TAG):
            return Identity(tags=(selector,), attributes=known)
        if selector.startswith(GROUP):
            return Identity(groups=(selector,), attributes=known)
        if "@" in selector:
            return Identity(user=selector, attributes=known)
        found = networks_of(self.policy, selector)
        return Identity(addresses=tuple(n.network_address for n in found), attributes=known)

    def failed_tests(self) -> tuple[str, ...]:
        """Return what each test of the policy that does not hold says; none where all hold.

        A test without a protocol is about TCP and UDP: what it accepts must be open in one of them, what it denies in
        none. A destination is one place: a network, or a host's name for one, fails. So does a test that asks nothing.
        """
        return tuple(line for test in self.policy.tests for line in self._failures(test))

    def filters(self, nodes: Mapping[str, Identity]) -> dict[str, tuple[FilterRule, ...]]:
        """Return every node's packet filter, by the node's name. Rules are those that let in; the rest is dropped."""
        parties = {name: self._party(node) for name, node in nodes.items()}
        holders: dict[str, list[Identity]] = defaultdict(list)
        for party in parties.values():
            for selector in party.names:
                holders[selector].append(party.identity)
        sources: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[Address, ...]] = {}
        made = {}
        for name, party in parties.items():
            rules = []
            for grant in self._of(self._by_destination, party.names):
                key = (grant.sources, grant.posture)
                if key not in sources:
                    sources[key] = self._addresses(grant, holders)
                from_whom = sources[key]
                if SELF in grant.destinations and not party.is_among(grant.destinations, but=SELF):
                    from_whom = _own(party.identity, nodes, from_whom)
                if from_whom:
                    rules += [FilterRule(from_whom, ports) for ports in self.ranges(grant)]
            made[name] = tuple(rules)
        return made

    def ranges(self, grant: Grant) -> tuple[PortRange, ...]:
        """Return what a grant opens; read once for all grants that open the same."""
        if grant.ip not in self._ranges:
            self._ranges[grant.ip] = grant.ranges()
        return self._ranges[grant.ip]

    def _answer(self, source: _Party, destination: _Party, protocols: Sequence[int], port: int) -> Answer:
        """Say whether a connection opens by any of some protocols."""
        lacking = []
        for grant in self._between(source, destination):
            if any(ports.holds(protocol, port) for ports in self.ranges(grant) for protocol in protocols):
                if self._meets_posture(grant, source.identity):
                    return Answer(grant)
                lacking.append(grant)
        return Answer(None, tuple(lacking))

    def _between(self, source: _Party, destination: _Party) -> Iterator[Grant]:
        """Yield the grants that name both, in the policy's order; looked for at the party that fewer of them name."""
        by_source = sum(len(self._by_source.get(name, ())) for name in source.names)
        by_destination = sum(len(self._by_destination.get(name, ())) for name in destination.names)
        if by_source < by_destination:
            candidates = self._of(self._by_source, source.names)
        else:
            candidates = self._of(self._by_destination, destination.names)
        for grant in candidates:
            if source.is_among(grant.sources) and _reaches_into(source, destination, grant):
                yield grant

    def _party(self, who: Identity) -> _Party:
        return _Party(who, self._names(who))

    def _names(self, who: Identity) -> dict[str, None]:
        """Return every selector that means somebody; those of addresses are looked through one by one."""
        names = dict.fromkeys(self._selectors(who))
        if who.addresses:
            for selector, networks in self._literals.items():
                if any(address in network for address in who.addresses for network in networks):
                    names[selector] = None
        return names

    def _selectors(self, who: Identity) -> Iterator[str]:
        yield from (ANY, DANGER_ALL)
        yield from who.tags
        if who.tags:
            yield TAGGED
            return
        yield from who.groups
        if who.user or who.groups:
            yield from (MEMBER, SELF)
        if who.user:
            yield who.user
            yield USER_DOMAIN + who.user.partition("@")[2]
            yield from self._groups_of.get(who.user, ())

    @cached_property
    def _literals(self) -> dict[str, tuple[Network, ...]]:
        """The selectors of grants that mean addresses, which are few."""
        every = {*self._by_source, *self._by_destination}
        return {selector: found for selector in every if (found := networks_of(self.policy, selector))}

    def _index(self, selectors: Iterable[tuple[str, ...]]) -> dict[str, list[int]]:
        index: dict[str, list[int]] = defaultdict(list)
        for number, names in enumerate(selectors):
            for name in names:
                if name != INTERNET:  # a way out, and no node
                    index[name].append(number)
        return dict(index)

    def _of(self, index: Mapping[str, list[int]], names: Iterable[str]) -> Iterator[Grant]:
        lists = [index[name] for name in names if name in index]
        numbers = lists[0] if len(lists) == 1 else sorted({number for found in lists for number in found})
        return (self.policy.grants[number] for number in numbers)

    def _meets_posture(self, grant: Grant, source: Identity) -> bool:
        if not grant.posture:
            return True
        return any(meets(self.policy.postures[name], source.attributes) for name in grant.posture)

    def _addresses(self, grant: Grant, holders: Mapping[str, list[Identity]]) -> tuple[Address, ...]:
        """Return the addresses of all sources of a grant, each once."""
        every = (node for selector in grant.sources for node in holders.get(selector, ()))
        found = {a for node in every if self._meets_posture(grant, node) for a in node.addresses}
        return tuple(sorted(found, key=lambda address: (address.version, address)))

    def _failures(self, test: PolicyTest) -> Iterator[str]:
        source = self._party(self.identity(test.source, test.attributes))
        protocols = protocols_of(test.protocol, test.place) if test.protocol else TESTED_UNSAID
        if not (test.accept or test.deny):
            yield f"{test.place or 'a test'}: nothing is accepted or denied"
        for targets, wanted in ((test.accept, True), (test.deny, False)):
            for target in targets:
                selector, port = split_target(target, test.place)
                if "/" in self.policy.hosts.get(selector, selector):
                    yield f"{test.place or 'a test'}: {target} is a network, not one place"
                    continue
                # Another device of the same person.
                whom = test.source if selector == SELF and "@" in test.source else selector
                destination = self._party(self.identity(whom))
                is_open = self._answer(source, destination, protocols, port).is_open
                if is_open is not wanted:
                    said = "is reached" if is_open else "is not reached"
                    yield f"{test.place or 'a test'}: {target} {said} by {test.source}"


def _reaches_into(source: _Party, destination: _Party, grant: Grant) -> bool:
    if destination.is_among(grant.destinations, but=SELF):
        return True
    one, other = source.identity, destination.identity
    return SELF in grant.destinations and bool(one.user) and one.user == other.user and not one.tags


def _own(node: Identity, nodes: Mapping[str, Identity], among: Sequence[Address]) -> tuple[Address, ...]:
    """Return, of some addresses, those of the same user's devices."""
    if not node.user:
        return ()
    own = {a for other in nodes.values() if other.user == node.user for a in other.addresses}
    return tuple(address for address in among if address in own)
