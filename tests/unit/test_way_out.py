"""How hosts leave their network: by the proxy on mgmt, whose address is known before any of them is there."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from mutx_infra.addressing import Layer
from mutx_infra.flows import Role
from mutx_infra.host_firewall import incoming_rules, outgoing_rules
from mutx_infra.inventory import make_inventory, variables_of
from mutx_infra.plan import TenantPlan
from mutx_infra.way_out import PROXY_PORT, proxy_address, proxy_clients, user_data, way_out
from tests.support.specs import a_plan, outputs_of

SQUID = Path(__file__).resolve().parents[2] / "playbooks" / "roles" / "squid"
PLANS = [a_plan(tier=tier) for tier in ("starter", "standard", "dedicated")] + [
    a_plan("platform", tier="platform")
]
every_plan = pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.tier)


def told(plan: TenantPlan, key: str) -> dict[str, object]:
    return variables_of(make_inventory(plan, outputs_of(plan)).host(key), plan.tenant)


@every_plan
def test_mgmt_has_the_first_address_of_its_subnet_and_no_other_host_one(plan: TenantPlan) -> None:
    subnets = {subnet.key: IPv4Network(subnet.cidr) for subnet in plan.subnets}

    fixed = {host.key: host.address for host in plan.hosts if host.address}

    assert fixed == {"mgmt-1": subnets["mgmt-a"].network_address + 4}
    assert proxy_address(plan) == fixed["mgmt-1"]


@every_plan
def test_every_host_but_mgmt_leaves_by_the_proxy(plan: TenantPlan) -> None:
    roles = {host.role for host in plan.hosts}

    assert way_out(plan, Role.MGMT) == {}
    assert {way_out(plan, role)["HTTPS_PROXY"] for role in roles - {Role.MGMT}} == {
        f"http://{proxy_address(plan)}:{PROXY_PORT}"
    }


@every_plan
def test_the_proxy_s_clients_are_those_that_the_firewalls_let_through(plan: TenantPlan) -> None:
    admitted = {rule.peer for rule in incoming_rules(plan, Role.MGMT) if rule.port == PROXY_PORT}
    leaving = {
        host.role
        for host in plan.hosts
        if any(rule.port == PROXY_PORT for rule in outgoing_rules(plan, host.role))
    }

    assert {client.source for client in proxy_clients(plan)} == admitted
    assert leaving == {host.role for host in plan.hosts} - {Role.MGMT}


@every_plan
def test_data_gets_packages_and_never_the_tailnet(plan: TenantPlan) -> None:
    reached = {client.source: set(client.may_reach) for client in proxy_clients(plan)}

    assert "tailnet" not in reached[plan.areas[Layer.DATA]]
    assert {"packages", "tailnet"} <= reached[plan.areas[Layer.APP]]


@every_plan
def test_aws_goes_by_the_proxy_only_where_it_has_no_addresses_inside(plan: TenantPlan) -> None:
    direct = way_out(plan, Role.VAULT)["NO_PROXY"].split(",")
    by_proxy = any("aws" in client.may_reach for client in proxy_clients(plan))

    assert direct[0] == "169.254.0.0/16"
    assert (".amazonaws.com" in direct, by_proxy) == (bool(plan.endpoints), not plan.endpoints)


def test_in_china_aws_has_other_names() -> None:
    plan = a_plan(tier="standard", region="cn-north-1")

    assert way_out(plan, Role.AGENT)["NO_PROXY"].endswith(",.amazonaws.com.cn")


def test_user_data_says_the_way_before_it_joins() -> None:
    plan = a_plan()
    agent, mgmt = (next(host for host in plan.hosts if host.key == key) for key in ("agent-1", "mgmt-1"))

    assert user_data(plan, agent) == (
        "#!/bin/sh\n"
        "printf '%s\\n' 'HTTPS_PROXY=http://10.0.1.116:3128' 'NO_PROXY=169.254.0.0/16' >/etc/mutx/way-out.env\n"
        "exec systemctl start --no-block 'mutx-join@acme:agent-1.service'\n"
    )
    assert user_data(plan, mgmt) == (
        "#!/bin/sh\n"
        "systemctl enable --now --no-block --quiet squid.service\n"
        "exec systemctl start --no-block 'mutx-join@acme:mgmt-1.service'\n"
    )


def test_the_playbooks_are_told_the_same() -> None:
    plan = a_plan()
    proxy = "http://10.0.1.116:3128"

    assert told(plan, "mgmt-1")["squid_addresses"] == ["10.0.1.116"]
    assert "base_apt_proxy" not in told(plan, "mgmt-1")
    assert told(plan, "agent-1")["tailscale_environment"] == way_out(plan, Role.AGENT)
    assert told(plan, "guard-1")["gpu_node_http_proxy"] == told(plan, "guard-1")["base_apt_proxy"] == proxy
    assert told(plan, "database-1")["base_apt_proxy"] == proxy
    assert "tailscale_environment" not in told(plan, "database-1")


@every_plan
def test_every_purpose_is_one_that_the_role_knows(plan: TenantPlan) -> None:
    known = yaml.safe_load((SQUID / "defaults" / "main.yml").read_text(encoding="utf-8"))

    assert {purpose for client in proxy_clients(plan) for purpose in client.may_reach} <= set(
        known["squid_destinations"]
    )
    assert known["squid_port"] == PROXY_PORT
