"""Hosts, keys and logs of a plan: what each tier has, and that names and zones fit."""

from __future__ import annotations

from collections import Counter

import pytest

from mutx_infra.flows import HOST_ROLES, LAYER_OF, Role
from mutx_infra.hosts import DATA_PURPOSES, PURPOSES, SHAPES
from mutx_infra.plan import TenantPlan
from mutx_infra.tenant import TENANT_TIERS, TIERS, Tier
from tests.support.specs import a_plan

VALID_RETENTION_DAYS = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557}
"""Source: CloudWatch Logs API, PutRetentionPolicy."""

every_tier = pytest.mark.parametrize("tier", TENANT_TIERS)


def plan_of(tier: Tier, tenant: str = "acme") -> TenantPlan:
    return a_plan(id=tenant, tier=str(tier))


@every_tier
def test_every_role_has_a_host_in_its_own_layer(tier: Tier) -> None:
    plan = plan_of(tier)
    subnets = {subnet.key: subnet for subnet in plan.subnets}

    assert {host.role for host in plan.hosts} == set(HOST_ROLES)
    assert all(subnets[host.subnet].layer is LAYER_OF[host.role] for host in plan.hosts)
    assert all(subnets[host.subnet].zone == host.zone for host in plan.hosts)


@every_tier
def test_a_role_s_hosts_are_spread_over_the_zones(tier: Tier) -> None:
    plan = plan_of(tier)

    for role in HOST_ROLES:
        zones = Counter(host.zone for host in plan.hosts if host.role is role)
        assert max(zones.values()) - min((zones[zone] for zone in plan.zones), default=0) <= 1


@every_tier
def test_vault_has_an_odd_number_of_nodes(tier: Tier) -> None:
    assert SHAPES[tier][Role.VAULT].count % 2 == 1


@every_tier
def test_guard_hosts_have_a_gpu_and_its_image(tier: Tier) -> None:
    guards = [host for host in plan_of(tier).hosts if host.role is Role.GUARD]

    assert all(host.instance_type.startswith(("g4dn.", "g5.", "g6.")) for host in guards)
    assert {host.image_parameter for host in guards} == {"/mutx/images/gpu"}


@every_tier
def test_what_holds_data_has_a_volume_under_a_key_of_its_own(tier: Tier) -> None:
    for host in plan_of(tier).hosts:
        assert (host.data_gib > 0) is (host.role in DATA_PURPOSES)
        assert host.data_key is DATA_PURPOSES.get(host.role)


@every_tier
def test_every_host_fits_into_its_subnet(tier: Tier) -> None:
    plan = plan_of(tier)
    hosts = Counter(host.subnet for host in plan.hosts)
    endpoints = Counter(subnet for endpoint in plan.endpoints for subnet in endpoint.subnets)
    usable = {subnet.key: 2 ** (32 - int(subnet.cidr.split("/")[1])) - 5 for subnet in plan.subnets}

    assert all(hosts[key] + endpoints[key] <= usable[key] for key in usable)


@every_tier
def test_endpoints_and_the_ports_to_them_come_together(tier: Tier) -> None:
    plan = plan_of(tier)
    to_endpoints = [rule for rule in plan.group_rules if Role.ENDPOINT in (rule.group, rule.peer_role)]

    assert bool(plan.endpoints) is TIERS[tier].interface_endpoints
    assert bool(to_endpoints) is bool(plan.endpoints)
    assert (Role.ENDPOINT in plan.roles) is bool(plan.endpoints)


def test_a_host_keeps_its_name_when_others_come() -> None:
    few, many = plan_of(Tier.STARTER), plan_of(Tier.DEDICATED)

    assert {host.key for host in few.hosts} <= {host.key for host in many.hosts}


def test_every_purpose_has_one_key() -> None:
    assert [key.purpose for key in plan_of(Tier.STARTER).keys] == list(PURPOSES)


def test_retention_is_what_the_requirements_say_and_what_aws_can_do() -> None:
    kept = {group.key: group.retention_days for group in plan_of(Tier.STARTER).log_groups}

    assert kept == {"flow": 30, "hosts": 365, "vault": 365}
    assert set(kept.values()) <= VALID_RETENTION_DAYS
