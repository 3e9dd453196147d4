"""What hosts accept and where they may go: the flow table's rows, no more and no less."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

import pytest

from mutx_infra.access import TAILNET_INTERFACE
from mutx_infra.addressing import Layer
from mutx_infra.firewall import ANYWHERE
from mutx_infra.flows import HOST_ROLES, LAYER_OF, PLATFORM_ROLES, Carrier, Outside, Role
from mutx_infra.host_firewall import TAILNET_RANGES, incoming_rules, outgoing_rules
from mutx_infra.plan import TenantPlan
from tests.support.specs import a_plan

ACME = a_plan("acme")
PLATFORM = a_plan("platform", tier="platform")
EVERY_HOST = [(ACME, role) for role in HOST_ROLES] + [(PLATFORM, role) for role in PLATFORM_ROLES]
every_host = pytest.mark.parametrize(
    ("plan", "role"), EVERY_HOST, ids=lambda value: value.tenant if isinstance(value, TenantPlan) else value
)


def accepted_from(plan: TenantPlan, role: Role, address: str, *, tailnet: bool = False) -> set[int]:
    """The ports that a packet of this source reaches, arriving over the tailnet or the VPC."""
    source = ip_address(address)
    return {
        rule.port
        for rule in incoming_rules(plan, role)
        if source.version == ip_network(rule.peer).version
        and source in ip_network(rule.peer)
        and (rule.interface is None or (tailnet and rule.interface == TAILNET_INTERFACE))
    }


def first_host(plan: TenantPlan, layer: Layer) -> str:
    return str(IPv4Network(plan.areas[layer]).network_address + 4)


@every_host
def test_nothing_is_accepted_from_anywhere(plan: TenantPlan, role: Role) -> None:
    sources = {ip_network(rule.peer) for rule in incoming_rules(plan, role)}

    assert all(source.prefixlen >= 10 for source in sources)
    assert accepted_from(plan, role, "198.51.100.7") == set()
    assert accepted_from(plan, role, "2001:db8::7") == set()


@every_host
def test_another_tenant_s_block_is_nobody(plan: TenantPlan, role: Role) -> None:
    assert accepted_from(plan, role, "10.0.9.4") == set()


@every_host
def test_every_row_to_a_role_is_open_and_no_other(plan: TenantPlan, role: Role) -> None:
    rows = {(port, flow.carrier) for flow in plan.flows if flow.destination is role for port in flow.ports}

    opened = {
        (rule.port, Carrier.TAILNET if rule.interface else Carrier.VPC) for rule in incoming_rules(plan, role)
    }

    assert opened == rows


def test_databases_accept_agents_on_their_ports_and_mgmt_for_ssh() -> None:
    assert accepted_from(ACME, Role.DATABASE, first_host(ACME, Layer.APP)) == {5432, 6379}
    assert accepted_from(ACME, Role.DATABASE, first_host(ACME, Layer.MGMT)) == {22}
    assert accepted_from(ACME, Role.DATABASE, first_host(ACME, Layer.DATA)) == set()
    assert accepted_from(ACME, Role.DATABASE, "100.64.0.9", tailnet=True) == set()


def test_a_tailnet_address_counts_on_the_tailnet_s_interface_alone() -> None:
    assert accepted_from(ACME, Role.AGENT, "100.64.0.9", tailnet=True) == {22}
    assert accepted_from(ACME, Role.AGENT, "fd7a:115c:a1e0::9", tailnet=True) == {22}
    assert accepted_from(ACME, Role.AGENT, "100.64.0.9") == set()


def test_hand_over_closes_ssh_from_the_tailnet_and_to_vault() -> None:
    def ports(role: Role, *, handed_over: bool) -> set[int]:
        return {rule.port for rule in incoming_rules(ACME, role, handed_over=handed_over)}

    assert ports(Role.VAULT, handed_over=False) - ports(Role.VAULT, handed_over=True) == {22}
    assert ports(Role.AGENT, handed_over=True) == {8080}
    assert 22 in ports(Role.DATABASE, handed_over=True)


def test_a_rule_is_there_once_whoever_asked_for_it() -> None:
    for plan, role in EVERY_HOST:
        for rules in (incoming_rules(plan, role), outgoing_rules(plan, role)):
            said = [(rule.port, rule.protocol, rule.peer, rule.interface) for rule in rules]
            assert len(set(said)) == len(said)


@pytest.mark.parametrize("role", [Role.AGENT, Role.DATABASE, Role.VAULT])
def test_hosts_that_hold_keys_and_data_open_no_tcp_connection_to_the_internet(role: Role) -> None:
    anywhere = {(rule.protocol, rule.port) for rule in outgoing_rules(ACME, role) if rule.peer == ANYWHERE}

    assert not [port for protocol, port in anywhere if protocol == "tcp"]
    assert anywhere <= {("udp", 41641), ("udp", 67)}


@every_host
def test_a_host_may_go_where_its_rows_lead(plan: TenantPlan, role: Role) -> None:
    rules = outgoing_rules(plan, role)

    for flow in plan.flows:
        if flow.source is not role:
            continue
        inside = isinstance(flow.destination, Role)
        target = first_host(plan, LAYER_OF[flow.destination]) if inside else "198.51.100.7"  # type: ignore[index]
        for port in flow.ports:
            assert [r for r in rules if r.port == port and IPv4Address(target) in ip_network(r.peer)], flow


@every_host
def test_names_time_and_identity_are_reached_by_every_host(plan: TenantPlan, role: Role) -> None:
    peers = {(rule.port, rule.peer) for rule in outgoing_rules(plan, role)}

    resolver = IPv4Network(plan.block).network_address + 2
    assert {(53, f"{resolver}/32"), (123, "169.254.169.123/32"), (80, "169.254.169.254/32")} <= peers


def test_no_tenant_s_host_opens_a_connection_over_the_tailnet() -> None:
    for role in HOST_ROLES:
        assert not [rule for rule in outgoing_rules(ACME, role) if rule.interface == TAILNET_INTERFACE]
    assert len(TAILNET_RANGES) == 2
    assert not [
        flow for flow in ACME.flows if flow.source in HOST_ROLES and flow.destination is Outside.CLIENTS
    ]


@pytest.mark.parametrize("role", [Role.AGENT, Role.GUARD, Role.MGMT, Role.VAULT, Role.DATABASE])
def test_the_tailnet_s_hosts_alone_reach_its_server_where_a_sandbox_has_one(role: Role) -> None:
    places = ("169.254.170.24:8480", "169.254.170.24:8482")

    more = set(outgoing_rules(ACME, role, places)) - set(outgoing_rules(ACME, role))

    wanted = {("tcp", "169.254.170.24/32", 8480), ("tcp", "169.254.170.24/32", 8482)}
    seen = {(rule.protocol, rule.peer, rule.port) for rule in more}
    assert seen == (set() if role is Role.DATABASE else wanted)
