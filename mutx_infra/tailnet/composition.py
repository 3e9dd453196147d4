"""The tailnet's policy as a pure function of who there is: tenants, the platform, its operators.

Every grant is a row of the flow table that travels over the tailnet, for one tenant. Nothing else opens anything, so a
tenant reaches no other because nothing says that it does; the tests that go with it say so to whoever changes it by
hand. The order is that of the tenants' ids, so that one tenant's change touches that tenant's lines, and the tests of
the neighbour before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain

from mutx_infra.access import CONVERGE_ACCOUNT
from mutx_infra.flows import FLOWS, PLATFORM_FLOWS, Carrier, Flow, Outside, Role
from mutx_infra.naming import (
    CONVERGE_TAG,
    INFRA_TAG,
    OPERATORS_GROUP,
    leave_attribute,
    leave_posture,
    tailnet_group,
    tailnet_tag,
    tenant_tailnet_tag,
)
from mutx_infra.tailnet.policy import Grant, Policy, PolicyTest
from mutx_infra.tenant import PLATFORM_ID

OPERATOR_POSTURE = "posture:mutx-operator"
CHECK_PERIOD = "12h"
"""How long a person's fresh login counts for Tailscale SSH."""
_ADMINISTRATORS = "autogroup:admin"
_PEOPLE = {Outside.CLIENTS: "clients", Outside.TENANT_ADMINS: "admins"}


@dataclass(frozen=True, slots=True)
class Member:
    """A tenant as the tailnet knows it.

    Attributes:
        id: the tenant's.
        administrators, clients: e-mail addresses of the tenant's people.
        is_handed_over: True where the platform's people have no way in any more.
    """

    id: str
    administrators: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    is_handed_over: bool = False


@dataclass(frozen=True, slots=True)
class Platform:
    """Who runs the platform.

    Attributes:
        operators: e-mail addresses.
        posture: terms that an operator's device must meet; none asks for nothing.
        by_leave: True where an operator reaches hosts only while a leave for that tenant lasts (`tailnet grant`).
    """

    operators: tuple[str, ...] = ()
    posture: tuple[str, ...] = ()
    by_leave: bool = False

    def posture_for(self, whose: str) -> str:
        """Return the name of what an operator's device must meet to enter somebody's hosts; empty for nothing."""
        if self.by_leave:
            return leave_posture(whose)
        return OPERATOR_POSTURE if self.posture else ""

    def terms_for(self, whose: str) -> tuple[str, ...]:
        """Return that posture's terms."""
        return (*self.posture, f"{leave_attribute(whose)} == true") if self.by_leave else self.posture


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a grant is there: the row of the flow table, and whose it is; `tenant` is empty for the platform's."""

    tenant: str
    flow: Flow

    @property
    def whose(self) -> str:
        """Name the tenant, or the platform."""
        return self.tenant or PLATFORM_ID


@dataclass(frozen=True, slots=True)
class Composed:
    """A policy with the reason of each grant, by the grant's position."""

    policy: Policy
    reasons: tuple[Reason, ...] = field(repr=False)

    def reason_of(self, grant: Grant) -> Reason | None:
        """Return why a grant is there, whoever wrote it down; None where nothing asks for it."""
        wanted = grant.content
        pairs = zip(self.policy.grants, self.reasons, strict=True)
        return next((reason for known, reason in pairs if known.content == wanted), None)


def compose(members: Sequence[Member], platform: Platform) -> Composed:
    """Return the policy of a tailnet with these tenants, and why each grant is in it.

    The members' order does not matter; an id may be there once.
    """
    ordered = sorted(members, key=lambda member: member.id)
    rows: list[tuple[Member | None, Flow]] = [
        (None, flow) for flow in _tailnet(PLATFORM_FLOWS) if flow.source is not Outside.CLIENTS
    ]
    rows += [(member, flow) for member in ordered for flow in rows_of(member)]
    grants = tuple(_grant(member, flow, platform) for member, flow in rows)
    groups = _groups(ordered, platform)
    policy = Policy(
        groups=groups,
        tag_owners=_owners(ordered),
        postures=_postures(rows, platform),
        grants=grants,
        ssh=tuple(_ssh(ordered)),
        tests=(*_accepted(grants, groups), *_asking(rows, platform), *_denied(ordered, groups)),
        ssh_tests=tuple(_ssh_tests(ordered)),
    )
    return Composed(policy, tuple(Reason(member.id if member else "", flow) for member, flow in rows))


def rows_of(member: Member) -> Iterator[Flow]:
    """Yield the rows that a tenant's part of the tailnet is made of."""
    clients = [flow for flow in _tailnet(PLATFORM_FLOWS) if flow.source is Outside.CLIENTS]
    for flow in chain(clients, _tailnet(FLOWS)):
        if not (member.is_handed_over and flow.before_hand_over_only):
            yield flow


@cache
def tailnet_roles() -> tuple[Role, ...]:
    """Return the roles whose hosts are on the tailnet; a database's is none."""
    return tuple(
        dict.fromkeys(flow.destination for flow in _tailnet(FLOWS) if isinstance(flow.destination, Role))
    )


def selector(party: Role | Outside, member: Member | None) -> str:
    """Return what stands for a party of a flow in the policy; `member` is None for the platform."""
    if party is Outside.OPERATORS:
        return OPERATORS_GROUP
    if party is Outside.CONVERGE:
        return CONVERGE_TAG
    if party in (Outside.CONTROL_PLANE, Role.CONTROL_PLANE) or member is None:
        return tailnet_tag(str(party))
    if isinstance(party, Outside):
        return tailnet_group(member.id, _PEOPLE[party])
    return tenant_tailnet_tag(member.id, party)


def _tailnet(flows: Sequence[Flow]) -> Iterator[Flow]:
    return (flow for flow in flows if flow.carrier is Carrier.TAILNET)


def _grant(member: Member | None, flow: Flow, platform: Platform) -> Grant:
    asked = platform.posture_for(_whose(member)) if flow.source is Outside.OPERATORS else ""
    return Grant(
        sources=(selector(flow.source, member),),
        destinations=(selector(flow.destination, member),),
        ip=tuple(f"{flow.protocol}:{port}" for port in flow.ports),
        posture=(asked,) if asked else (),
    )


def _whose(member: Member | None) -> str:
    return member.id if member is not None else PLATFORM_ID


def _postures(rows: Sequence[tuple[Member | None, Flow]], platform: Platform) -> dict[str, tuple[str, ...]]:
    asking = (_whose(member) for member, flow in rows if flow.source is Outside.OPERATORS)
    return {name: platform.terms_for(whose) for whose in asking if (name := platform.posture_for(whose))}


def _groups(members: Sequence[Member], platform: Platform) -> dict[str, tuple[str, ...]]:
    groups = {OPERATORS_GROUP: tuple(sorted(platform.operators))}
    for member in members:
        groups[tailnet_group(member.id, "admins")] = tuple(sorted(member.administrators))
        groups[tailnet_group(member.id, "clients")] = tuple(sorted(member.clients))
    return groups


def _owners(members: Sequence[Member]) -> dict[str, tuple[str, ...]]:
    """Let the toolkit's own tag hand out every other; itself belongs to the tailnet's administrators."""
    platform = [tailnet_tag(role) for role in (Role.CONTROL_PLANE, Role.MGMT)]
    tenants = [tenant_tailnet_tag(member.id, role) for member in members for role in tailnet_roles()]
    return {
        INFRA_TAG: (_ADMINISTRATORS,),
        **dict.fromkeys([CONVERGE_TAG, *platform, *tenants], (INFRA_TAG,)),
    }


def _accepted(grants: Sequence[Grant], groups: Mapping[str, tuple[str, ...]]) -> Iterator[PolicyTest]:
    """Yield a test for each grant; none for who is nobody yet, or for a device whose posture cannot be made up here."""
    for grant in grants:
        (source,), (destination,) = grant.sources, grant.destinations
        if grant.posture or not groups.get(source, (source,)):
            continue
        for entry in grant.ip:
            protocol, _, port = entry.partition(":")
            yield PolicyTest(source, accept=(f"{destination}:{port}",), protocol=protocol)


def _asking(rows: Sequence[tuple[Member | None, Flow]], platform: Platform) -> Iterator[PolicyTest]:
    """Yield, where operators need leave, that they have no way in without, and one with where that can be made up."""
    if not (platform.by_leave and platform.operators):
        return
    for member, flow in rows:
        if flow.source is Outside.OPERATORS:
            targets = tuple(f"{selector(flow.destination, member)}:{port}" for port in flow.ports)
            yield PolicyTest(OPERATORS_GROUP, deny=targets, protocol=str(flow.protocol))
            if not platform.posture:
                attributes = {leave_attribute(_whose(member)): True}
                yield PolicyTest(OPERATORS_GROUP, targets, protocol=str(flow.protocol), attributes=attributes)


def _denied(members: Sequence[Member], groups: Mapping[str, tuple[str, ...]]) -> Iterator[PolicyTest]:
    """Yield what each tenant must not reach: the next tenant, round and round, and what is the platform's."""
    served = [(role, port) for role in tailnet_roles() for port in _ports(role)]
    control_plane = tailnet_tag(Role.CONTROL_PLANE)
    for member, following in zip(members, [*members[1:], *members[:1]], strict=True):
        agent = tenant_tailnet_tag(member.id, Role.AGENT)
        yield PolicyTest(control_plane, deny=(f"{agent}:8080", f"{agent}:22"))
        if following is member:
            continue
        others = tuple(f"{tenant_tailnet_tag(following.id, role)}:{port}" for role, port in served)
        for role in tailnet_roles():
            yield PolicyTest(tenant_tailnet_tag(member.id, role), deny=(*others, f"{control_plane}:443"))
        for people in _PEOPLE.values():
            group = tailnet_group(member.id, people)
            if groups[group]:
                yield PolicyTest(group, deny=others)


@cache
def _ports(role: Role) -> tuple[int, ...]:
    return tuple(
        sorted({port for flow in _tailnet(FLOWS) if flow.destination is role for port in flow.ports})
    )


def _ssh(members: Sequence[Member]) -> Iterator[Mapping[str, object]]:
    """Yield rules of Tailscale SSH for people, who prove anew who they are; automation comes with certificates."""
    for member in members:
        if hosts := _ssh_hosts(member):
            yield {
                "action": "check",
                "src": [OPERATORS_GROUP],
                "dst": hosts,
                "users": [CONVERGE_ACCOUNT],
                "checkPeriod": CHECK_PERIOD,
            }


def _ssh_tests(members: Sequence[Member]) -> Iterator[Mapping[str, object]]:
    for member in members:
        yield {
            "src": tenant_tailnet_tag(member.id, Role.AGENT),
            "dst": [tenant_tailnet_tag(member.id, role) for role in tailnet_roles()],
            "deny": [CONVERGE_ACCOUNT, "root"],
        }


def _ssh_hosts(member: Member) -> list[str]:
    return [
        tenant_tailnet_tag(member.id, flow.destination)
        for flow in rows_of(member)
        if flow.source is Outside.OPERATORS and isinstance(flow.destination, Role)
    ]
