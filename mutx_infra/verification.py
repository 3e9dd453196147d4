"""Live tenant against plan: the check that ends every create (PRIN-4), by sight and not by exit code.

What the plan promises and what the cloud shows are brought into the same facts; a fact that only one side has
is a finding. So a rule that somebody added is found as surely as one that is missing.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mutx_infra.addressing import Layer
from mutx_infra.firewall import AclEntry, GroupRule
from mutx_infra.flows import Role
from mutx_infra.host_facts import (
    BucketFact,
    EndpointFact,
    HostFact,
    KeyFact,
    LogGroupFact,
    RoleFact,
    VolumeFact,
    expected_buckets,
    expected_endpoints,
    expected_hosts,
    expected_keys,
    expected_log_groups,
    expected_roles,
    expected_volumes,
)
from mutx_infra.hosts import FLOW_LOGS_KEY
from mutx_infra.naming import flow_log_group
from mutx_infra.plan import RouteTablePlan, TenantPlan

S3_PREFIX_LIST = "s3"


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class VpcFact(_Fact):
    """A VPC of the tenant."""

    block: str
    dns_support: bool
    dns_hostnames: bool

    def __str__(self) -> str:
        return f"VPC {self.block}, DNS support {_on(self.dns_support)}, host names {_on(self.dns_hostnames)}"


class SubnetFact(_Fact):
    """A subnet; names are logical (`app-a`), or AWS ids where something foreign stands there."""

    name: str
    cidr: str
    zone: str
    public_addresses: bool
    route_table: str
    acl: str

    def __str__(self) -> str:
        public = ", gives hosts public addresses" if self.public_addresses else ""
        return f"subnet {self.name} {self.cidr} in {self.zone}, {self.route_table}, {self.acl}{public}"


class RouteFact(_Fact):
    """A route besides the VPC's local one."""

    table: str
    destination: str
    target: str

    def __str__(self) -> str:
        return f"{self.table}: {self.destination} → {self.target}"


class AclFact(_Fact):
    """An entry of a network ACL, without AWS's closing denials."""

    acl: str
    egress: bool
    number: int
    action: str
    protocol: str
    from_port: int
    to_port: int
    cidr: str

    def __str__(self) -> str:
        way = "to" if self.egress else "from"
        ports = f"{self.from_port}-{self.to_port}"
        return f"{self.acl} #{self.number}: {self.action} {self.protocol} {ports} {way} {self.cidr}"


class GroupRuleFact(_Fact):
    """A rule of a security group; `peer` is a role, a CIDR, a prefix list's endpoint (`s3`), or an AWS id."""

    group: str
    direction: str
    protocol: str
    from_port: int
    to_port: int
    peer: str

    def __str__(self) -> str:
        way = "from" if self.direction == "ingress" else "to"
        return f"{self.group}: {self.direction} {self.protocol} {self.from_port}-{self.to_port} {way} {self.peer}"


class FlowLogFact(_Fact):
    """A flow log of the VPC and what keeps its records."""

    traffic: str
    active: bool
    destination: str
    retention_days: int

    def __str__(self) -> str:
        state = "active" if self.active else "not active"
        return f"flow log of {self.traffic} to {self.destination}, {self.retention_days} days, {state}"


class TenantFacts(_Fact):
    """A tenant's network, hosts, keys, roles and logs, as planned or as observed."""

    vpcs: frozenset[VpcFact] = frozenset()
    subnets: frozenset[SubnetFact] = frozenset()
    routes: frozenset[RouteFact] = frozenset()
    acl_entries: frozenset[AclFact] = frozenset()
    group_rules: frozenset[GroupRuleFact] = frozenset()
    flow_logs: frozenset[FlowLogFact] = frozenset()
    endpoints: frozenset[EndpointFact] = frozenset()
    hosts: frozenset[HostFact] = frozenset()
    volumes: frozenset[VolumeFact] = frozenset()
    keys: frozenset[KeyFact] = frozenset()
    log_groups: frozenset[LogGroupFact] = frozenset()
    roles: frozenset[RoleFact] = frozenset()
    buckets: frozenset[BucketFact] = frozenset()


class Finding(_Fact):
    """One difference between plan and world.

    Attributes:
        control: the requirement that is broken.
        problem: `missing` (planned, not seen) or `unexpected` (seen, not planned).
        subject: the fact, in words.
    """

    control: str
    problem: str
    subject: str

    def __str__(self) -> str:
        return f"{self.control}: {self.problem}: {self.subject}"


CONTROLS = {
    "vpcs": "NET-1",
    "group_rules": "NET-2",
    "subnets": "NET-3",
    "routes": "NET-3",
    "acl_entries": "NET-3",
    "flow_logs": "ZTNA-6",
    "endpoints": "NET-3",
    "hosts": "PRIN-2",
    "volumes": "PRIN-2",
    "keys": "PRIN-2",
    "log_groups": "AUDIT-1",
    "roles": "PRIN-3",
    "buckets": "AUDIT-1",
}
"""Which requirement each kind of fact proves."""


def compare(plan: TenantPlan, seen: TenantFacts) -> tuple[Finding, ...]:
    """Return every difference between a plan and the observed tenant; none means that they agree."""
    wanted = expected_facts(plan)
    findings = []
    for field, control in CONTROLS.items():
        planned, observed = getattr(wanted, field), getattr(seen, field)
        findings += [Finding(control=control, problem="missing", subject=str(f)) for f in planned - observed]
        findings += [
            Finding(control=control, problem="unexpected", subject=str(f)) for f in observed - planned
        ]
    return tuple(sorted(findings, key=str))


def count_facts(facts: TenantFacts) -> int:
    """Return how many facts were observed, for the report."""
    return sum(len(getattr(facts, field)) for field in CONTROLS)


def expected_facts(plan: TenantPlan) -> TenantFacts:
    """Return what the cloud must show once the plan is in force."""
    table_of = {subnet: table.key for table in plan.route_tables for subnet in table.subnets}
    return TenantFacts(
        vpcs=frozenset({VpcFact(block=plan.block, dns_support=True, dns_hostnames=True)}),
        subnets=frozenset(
            SubnetFact(
                name=subnet.key,
                cidr=subnet.cidr,
                zone=subnet.zone,
                public_addresses=False,
                route_table=table_of[subnet.key],
                acl=acl_key(subnet.layer),
            )
            for subnet in plan.subnets
        ),
        routes=frozenset(route for table in plan.route_tables for route in _routes(table)),
        acl_entries=frozenset(map(_acl_fact, plan.acl_entries)),
        group_rules=frozenset(map(_rule_fact, plan.group_rules)),
        flow_logs=frozenset(
            {
                FlowLogFact(
                    traffic="ALL",
                    active=True,
                    destination=flow_log_group(plan.tenant),
                    retention_days=_flow_log_retention(plan),
                )
            }
        ),
        endpoints=frozenset(expected_endpoints(plan)),
        hosts=frozenset(expected_hosts(plan)),
        volumes=frozenset(expected_volumes(plan)),
        keys=frozenset(expected_keys(plan)),
        log_groups=frozenset(expected_log_groups(plan)),
        roles=frozenset(expected_roles(plan)),
        buckets=frozenset(expected_buckets(plan)),
    )


def _flow_log_retention(plan: TenantPlan) -> int:
    return next(group.retention_days for group in plan.log_groups if group.key == FLOW_LOGS_KEY)


def acl_key(layer: Layer) -> str:
    """Return the logical name of a layer's network ACL."""
    return f"acl-{layer}"


def group_key(role: Role) -> str:
    """Return the logical name of a role's security group."""
    return f"sg-{role}"


def _routes(table: RouteTablePlan) -> list[RouteFact]:
    routes = [RouteFact(table=table.key, destination=r.destination, target=r.target) for r in table.routes]
    if table.s3_endpoint:
        routes.append(RouteFact(table=table.key, destination=S3_PREFIX_LIST, target="endpoint-s3"))
    return routes


def _acl_fact(entry: AclEntry) -> AclFact:
    return AclFact(
        acl=acl_key(entry.layer),
        egress=entry.egress,
        number=entry.number,
        action=entry.action,
        protocol=entry.protocol,
        from_port=entry.from_port,
        to_port=entry.to_port,
        cidr=entry.cidr,
    )


def _rule_fact(rule: GroupRule) -> GroupRuleFact:
    return GroupRuleFact(
        group=group_key(rule.group),
        direction=rule.direction,
        protocol=rule.protocol,
        from_port=rule.port,
        to_port=rule.port,
        peer=group_key(rule.peer_role) if rule.peer_role else rule.peer_endpoint or str(rule.peer_cidr),
    )


def _on(flag: bool) -> str:
    return "on" if flag else "off"
