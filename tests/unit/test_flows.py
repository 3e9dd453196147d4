"""What the flow table opens, and that nothing else is open: security groups and network ACLs as AWS reads them."""

from __future__ import annotations

import re
from collections import Counter
from ipaddress import IPv4Network
from itertools import combinations, product

import pytest

from mutx_infra.addressing import Layer, split_block
from mutx_infra.firewall import (
    ANYWHERE,
    ENTRY_LIMIT,
    HOST_REPLY_PORTS,
    AclEntry,
    acl_entries,
    group_rules,
)
from mutx_infra.flows import (
    FLOWS,
    LAYER_OF,
    PLATFORM_FLOWS,
    Carrier,
    Flow,
    Outside,
    Protocol,
    Role,
    flows_of,
    roles_of,
)
from tests.support.acl import Packet, admits, passes
from tests.support.specs import a_plan

LAYOUT = split_block(IPv4Network("10.0.4.0/22"), 3)
ENTRIES = acl_entries(FLOWS, LAYOUT)
RULES = group_rules(FLOWS)
VPC_FLOWS = [flow for flow in FLOWS if flow.carrier is Carrier.VPC]
NAT_FLOWS = [flow for flow in FLOWS if flow.carrier is Carrier.NAT]
INTERNET_HOST = IPv4Network("198.51.100.7/32")
NEIGHBOUR = IPv4Network("10.0.9.9/32")
SERVED_PORTS = (22, 53, 443, 3128, 5432, 6379, 8080, 8200, 8201, 8443, 8444)

of_flow = {"ids": lambda flow: f"{flow.source}-{flow.destination}-{flow.ports[0]}"}


def _hosts(layer: Layer) -> list[IPv4Network]:
    """The first and the last address of each of a layer's subnets."""
    return [IPv4Network((int(s[n]), 32)) for s in LAYOUT.subnets[layer] for n in (4, -2)]


def _packet(flow: Flow | None, near: IPv4Network, far: IPv4Network, port: int, reply_port: int) -> Packet:
    protocol = str(flow.protocol) if flow else "tcp"
    return Packet(protocol, near[0], reply_port, far[0], port)


class TestTable:
    def test_every_role_stands_in_a_layer_and_no_layer_of_hosts_is_empty(self) -> None:
        assert set(LAYER_OF) == set(Role)
        assert set(LAYER_OF.values()) == set(Layer) - {Layer.EGRESS}

    def test_no_flow_is_said_twice(self) -> None:
        said = [(f.source, f.destination, f.protocol, port, f.carrier) for f in FLOWS for port in f.ports]

        assert len(set(said)) == len(said)

    def test_flows_over_the_vpc_run_between_roles(self) -> None:
        assert all(isinstance(end, Role) for flow in VPC_FLOWS for end in (flow.source, flow.destination))

    def test_nothing_outside_reaches_the_database_over_any_carrier(self) -> None:
        assert {f.source for f in FLOWS if f.destination is Role.DATABASE} == {
            Role.AGENT,
            Role.GUARD,
            Role.MGMT,
        }
        assert {f.carrier for f in FLOWS if f.destination is Role.DATABASE} == {Carrier.VPC}

    def test_a_guard_reaches_redis_alone_of_the_data_layer_and_only_where_there_are_several(self) -> None:
        rows = [f for f in FLOWS if (f.source, f.destination) == (Role.GUARD, Role.DATABASE)]

        assert [(f.ports, f.several_guards_only) for f in rows] == [((6379,), True)]
        assert not set(rows) & set(flows_of(interface_endpoints=True))
        assert set(rows) < set(flows_of(interface_endpoints=True, several_guards=True))

    def test_the_control_plane_reaches_guards_only(self) -> None:
        assert {f.destination for f in FLOWS if f.source is Outside.CONTROL_PLANE} == {Role.GUARD}

    def test_only_guard_and_mgmt_leave_for_the_internet_by_tcp(self) -> None:
        leaving = {
            f.source for f in FLOWS if f.destination is Outside.INTERNET and f.protocol is Protocol.TCP
        }

        assert leaving == {Role.GUARD, Role.MGMT}


class TestGroupRules:
    def test_no_rule_lets_an_address_range_in(self) -> None:
        assert not [r for r in RULES if r.direction == "ingress" and (r.peer_cidr or r.peer_endpoint)]

    def test_every_rule_has_exactly_one_peer(self) -> None:
        for rule in RULES:
            assert sum(p is not None for p in (rule.peer_role, rule.peer_cidr, rule.peer_endpoint)) == 1

    def test_every_key_is_used_once(self) -> None:
        assert len({rule.key for rule in RULES}) == len(RULES)

    def test_every_reason_is_a_description_that_aws_accepts(self) -> None:
        """EC2: up to 255 characters of a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{}!$*."""
        for rule in RULES:
            assert re.fullmatch(r"[a-zA-Z0-9. _:/()#,@\[\]+=&;{}!$*-]{1,255}", rule.reason)

    def test_every_ingress_rule_has_its_egress_rule_at_the_other_side(self) -> None:
        ins = {(r.peer_role, r.group, r.protocol, r.port) for r in RULES if r.direction == "ingress"}
        outs = {
            (r.group, r.peer_role, r.protocol, r.port)
            for r in RULES
            if r.direction == "egress" and r.peer_role
        }

        assert ins == outs

    def test_the_rules_open_what_the_table_says_and_nothing_else(self) -> None:
        opened = {(r.peer_role, r.group, r.protocol, r.port) for r in RULES if r.direction == "ingress"}
        said = {(f.source, f.destination, str(f.protocol), port) for f in VPC_FLOWS for port in f.ports}

        assert opened == said

    def test_data_admits_agents_and_guards_on_their_ports_and_mgmt_on_ssh_only(self) -> None:
        admitted = {
            (r.peer_role, r.port) for r in RULES if r.group is Role.DATABASE and r.direction == "ingress"
        }

        assert admitted == {(Role.AGENT, 5432), (Role.AGENT, 6379), (Role.GUARD, 6379), (Role.MGMT, 22)}

    def test_data_has_no_rule_to_any_address_range(self) -> None:
        assert not [r for r in RULES if r.group is Role.DATABASE and (r.peer_cidr or r.peer_endpoint)]


class TestAclShape:
    def test_no_direction_of_a_layer_needs_more_than_the_quota(self) -> None:
        for layer, egress in product(Layer, (False, True)):
            assert len([e for e in ENTRIES if e.layer is layer and e.egress is egress]) <= ENTRY_LIMIT

    def test_numbers_are_used_once_in_each_direction_and_are_below_the_final_denial(self) -> None:
        numbers = [(e.layer, e.egress, e.number) for e in ENTRIES]

        assert len(set(numbers)) == len(numbers)
        assert all(1 <= e.number <= 32766 for e in ENTRIES)

    def test_every_key_is_used_once(self) -> None:
        assert len({entry.key for entry in ENTRIES}) == len(ENTRIES)

    def test_no_two_allowances_of_a_direction_are_the_same(self) -> None:
        said = [(e.layer, e.egress, e.protocol, e.from_port, e.to_port, e.cidr) for e in ENTRIES]

        assert len(set(said)) == len(said)

    def test_allowances_inside_the_block_come_before_its_denial_and_the_outside_after(self) -> None:
        for layer, egress in product(Layer, (False, True)):
            mine = [e for e in ENTRIES if e.layer is layer and e.egress is egress]
            denial = next((e.number for e in mine if e.action == "deny"), None)
            for entry in mine:
                if entry.cidr == ANYWHERE:
                    assert denial is not None
                    assert entry.number > denial
                elif entry.action == "allow" and denial is not None:
                    assert entry.number < denial

    def test_a_table_that_needs_more_entries_than_the_quota_is_refused(self) -> None:
        many = [
            Flow(Role.AGENT, Role.DATABASE, Protocol.TCP, (port,), Carrier.VPC, "x")
            for port in range(1, ENTRY_LIMIT + 2)
        ]

        with pytest.raises(ValueError, match="ACL entries"):
            acl_entries(many, LAYOUT)


class TestAclBehaviour:
    @pytest.mark.parametrize("flow", VPC_FLOWS, **of_flow)
    def test_each_flow_and_its_replies_pass_both_acls(self, flow: Flow) -> None:
        assert isinstance(flow.source, Role)
        assert isinstance(flow.destination, Role)
        near, far = LAYER_OF[flow.source], LAYER_OF[flow.destination]
        for source, destination, port, reply_port in product(
            _hosts(near), _hosts(far), flow.ports, HOST_REPLY_PORTS
        ):
            packet = _packet(flow, source, destination, port, reply_port)

            assert passes(ENTRIES, packet, near, far)
            assert passes(ENTRIES, packet.reply(), far, near)

    @pytest.mark.parametrize("flow", NAT_FLOWS, **of_flow)
    def test_each_way_out_passes_by_the_nat_gateway_and_back(self, flow: Flow) -> None:
        assert isinstance(flow.source, Role)
        layer = LAYER_OF[flow.source]
        for host, port in product(_hosts(layer), flow.ports):
            sender = port if flow.protocol is Protocol.UDP else HOST_REPLY_PORTS[1]
            leaving = _packet(flow, host, INTERNET_HOST, port, sender)
            translated = _packet(flow, _hosts(Layer.EGRESS)[0], INTERNET_HOST, port, 1024)

            assert admits(ENTRIES, layer, leaving, egress=True)
            assert admits(ENTRIES, Layer.EGRESS, leaving, egress=False)
            assert admits(ENTRIES, Layer.EGRESS, translated, egress=True)
            assert admits(ENTRIES, Layer.EGRESS, translated.reply(), egress=False)
            assert admits(ENTRIES, Layer.EGRESS, leaving.reply(), egress=True)
            assert admits(ENTRIES, layer, leaving.reply(), egress=False)

    @pytest.mark.parametrize("layer", Layer)
    def test_between_layers_only_ports_of_the_table_are_open(self, layer: Layer) -> None:
        said = {
            (LAYER_OF[f.source], LAYER_OF[f.destination], port)
            for f in VPC_FLOWS
            for port in f.ports
            if isinstance(f.source, Role) and isinstance(f.destination, Role)
        }
        for other, port in product(Layer, SERVED_PORTS):
            packet = _packet(None, _hosts(layer)[0], _hosts(other)[-1], port, HOST_REPLY_PORTS[0])
            nat = {layer, other} & {Layer.EGRESS}
            if (layer, other, port) not in said and not nat:
                assert not passes(ENTRIES, packet, layer, other), (layer, other, port)

    def test_data_admits_its_three_ports_from_the_right_layers_and_replies_only(self) -> None:
        admitted = {
            (e.cidr, e.from_port, e.to_port)
            for e in ENTRIES
            if e.layer is Layer.DATA and not e.egress and e.action == "allow"
        }
        app, mgmt = str(LAYOUT.areas[Layer.APP]), str(LAYOUT.areas[Layer.MGMT])

        assert admitted == {
            (app, 5432, 5432),
            (app, 6379, 6379),
            (mgmt, 22, 22),
            (mgmt, *HOST_REPLY_PORTS),
        }

    def test_data_neither_reaches_nor_hears_anything_outside_the_block(self) -> None:
        for entry in (e for e in ENTRIES if e.layer is Layer.DATA):
            assert IPv4Network(entry.cidr).subnet_of(LAYOUT.block)

    @pytest.mark.parametrize("layer", sorted(set(Layer) - {Layer.EGRESS}))
    def test_the_internet_opens_no_port_below_the_reply_range(self, layer: Layer) -> None:
        for port in SERVED_PORTS:
            packet = Packet("tcp", INTERNET_HOST[0], 40000, _hosts(layer)[0][0], port)

            assert not admits(ENTRIES, layer, packet, egress=False)

    def test_the_wide_reply_range_of_the_nat_layer_admits_nobody_inside_the_block(self) -> None:
        for source, port in product([Layer.DATA, Layer.APP, Layer.MGMT], (1024, 5432, 8200, 65535)):
            packet = Packet("tcp", _hosts(source)[0][0], 40000, _hosts(Layer.EGRESS)[0][0], port)

            assert not admits(ENTRIES, Layer.EGRESS, packet, egress=False) or _is_nat_entry(packet)

    def test_another_tenants_address_is_not_in_any_allowance_but_the_internets(self) -> None:
        allowed = [e for e in ENTRIES if e.action == "allow" and NEIGHBOUR.subnet_of(IPv4Network(e.cidr))]

        assert {e.cidr for e in allowed} <= {ANYWHERE}

    def test_replies_do_not_pass_for_a_flow_that_the_table_lacks(self) -> None:
        """Data answers mgmt's SSH; it may not open connections into mgmt beyond its own rows."""
        packet = Packet("tcp", _hosts(Layer.DATA)[0][0], 50000, _hosts(Layer.MGMT)[0][0], 22)

        assert not passes(ENTRIES, packet, Layer.DATA, Layer.MGMT)


def _is_nat_entry(packet: Packet) -> bool:
    """Hosts' own ways out (443/tcp, 41641/udp) enter the NAT layer; nothing else does."""
    return packet.destination_port in {443, 41641}


def test_acl_entries_are_equal_for_equal_layouts() -> None:
    assert acl_entries(FLOWS, LAYOUT) == acl_entries(FLOWS, split_block(LAYOUT.block, 3))


@pytest.mark.parametrize(("block", "zones"), [("10.0.1.0/25", 1), ("10.0.0.0/24", 2), ("10.0.0.0/16", 4)])
def test_every_size_of_tenant_keeps_to_the_quota(block: str, zones: int) -> None:
    entries: tuple[AclEntry, ...] = acl_entries(FLOWS, split_block(IPv4Network(block), zones))

    for one, other in combinations(entries, 2):
        assert (one.layer, one.egress, one.number) != (other.layer, other.egress, other.number)


class TestPlatform:
    """The platform's table keeps to what the tenants' does."""

    def test_no_row_of_one_table_names_a_role_of_the_other_alone(self) -> None:
        tenants, platform = set(roles_of(FLOWS)), set(roles_of(PLATFORM_FLOWS))

        assert tenants - platform == {Role.AGENT, Role.GUARD}
        assert platform - tenants == {Role.CONTROL_PLANE}

    def test_only_the_api_and_mgmt_reach_data(self) -> None:
        reaching = {(flow.source, flow.ports) for flow in PLATFORM_FLOWS if flow.destination is Role.DATABASE}

        assert reaching == {
            (Role.CONTROL_PLANE, (5432,)),
            (Role.CONTROL_PLANE, (6379,)),
            (Role.MGMT, (22,)),
        }

    def test_clients_and_operators_come_over_the_tailnet_alone(self) -> None:
        outside = {Outside.CLIENTS, Outside.OPERATORS, Outside.CONVERGE}

        assert {flow.carrier for flow in PLATFORM_FLOWS if flow.source in outside} == {Carrier.TAILNET}

    def test_database_has_no_way_out(self) -> None:
        leaving = {Carrier.NAT, Carrier.ENDPOINT}

        assert [f for f in PLATFORM_FLOWS if f.source is Role.DATABASE and f.carrier in leaving] == []

    def test_its_acls_fit_into_the_quota_in_two_zones(self) -> None:
        plan = a_plan("platform", tier="platform")

        counted = Counter((entry.layer, entry.egress) for entry in plan.acl_entries)
        assert max(counted.values()) <= 20
