"""Who the playbooks configure, how each host is reached, and what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mutx_infra.addressing import Layer
from mutx_infra.errors import RefusedError
from mutx_infra.flows import Role
from mutx_infra.inventory import AGENT_UID, Inventory, make_inventory, variables_of
from mutx_infra.plan import TenantPlan
from tests.support.specs import a_plan, outputs_of

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
TIERS = ["starter", "standard", "dedicated"]


def an_inventory(plan: TenantPlan | None = None) -> Inventory:
    plan = plan or a_plan()
    return make_inventory(plan, outputs_of(plan))


@pytest.mark.parametrize("tier", TIERS)
def test_every_host_of_the_plan_is_there_once_under_its_role(tier: str) -> None:
    plan = a_plan(tier=tier)

    inventory = an_inventory(plan)

    assert [host.key for host in inventory.hosts] == sorted(host.key for host in plan.hosts)
    assert len({host.name for host in inventory.hosts}) == len(plan.hosts)
    assert all(host.name.startswith("acme-") for host in inventory.hosts)


@pytest.mark.parametrize("tier", TIERS)
def test_hosts_that_the_tailnet_does_not_reach_are_reached_through_mgmt(tier: str) -> None:
    jumps = {host.role: host.jump for host in an_inventory(a_plan(tier=tier)).hosts}

    assert {role for role, jump in jumps.items() if jump is None} == {Role.AGENT, Role.GUARD, Role.MGMT}
    assert {jump for jump in jumps.values() if jump} == {"acme-mgmt-1"}


def test_the_platform_s_database_and_vault_are_reached_through_its_mgmt() -> None:
    inventory = an_inventory(a_plan("platform", tier="platform"))

    assert {host.group for host in inventory.hosts if host.jump is None} == {"control_plane", "mgmt"}


def test_ssh_is_forwarded_by_mgmt_alone_and_to_the_hosts_behind_it_alone() -> None:
    inventory = an_inventory(a_plan(tier="standard"))

    allowed = {host.key: variables_of(host, "acme")["sshd_permit_open"] for host in inventory.hosts}

    behind = [
        f"{host.target.private_ip}:22" for host in inventory.hosts if host.role in {Role.DATABASE, Role.VAULT}
    ]
    assert allowed.pop("mgmt-1") == behind
    assert not any(allowed.values())


def test_a_host_is_told_its_own_rules() -> None:
    host = an_inventory().host("database-1")

    told = variables_of(host, "acme")

    assert (told["mutx_host"], told["mutx_role"]) == ("database-1", "database")
    assert told["ufw_incoming_rules"][0] == {  # type: ignore[index]
        "port": 5432,
        "protocol": "tcp",
        "interface": None,
        "source": "10.0.1.0/26",
        "comment": "PostgreSQL, TLS",
    }
    assert told["ufw_outgoing_policy"] == "deny"


@pytest.mark.parametrize("plan", [a_plan(), a_plan("platform", tier="platform")], ids=["tenant", "platform"])
def test_a_database_listens_on_its_own_address_for_whom_the_flow_table_names(plan: TenantPlan) -> None:
    inventory = an_inventory(plan)
    host = inventory.host("database-1")

    told = variables_of(host, plan.tenant)

    assert (
        told["postgresql_listen_addresses"] == told["redis_listen_addresses"] == [str(host.target.private_ip)]
    )
    assert told["postgresql_client_sources"] == [plan.areas[Layer.APP]]
    assert not [
        name for name in variables_of(inventory.host("mgmt-1"), plan.tenant) if name.startswith("postgresql")
    ]


def test_a_stack_that_lacks_a_host_is_refused_with_the_command_that_makes_it() -> None:
    plan = a_plan()
    outputs = outputs_of(plan)
    del outputs["hosts"]["vault-1"]  # type: ignore[attr-defined]

    with pytest.raises(RefusedError, match="no host vault-1 yet") as refused:
        make_inventory(plan, outputs)

    assert refused.value.code == "hosts-not-made"
    assert "mutx-infra tenant create acme" in refused.value.remedy
    with pytest.raises(RefusedError, match="agent-1"):
        make_inventory(plan, {})


@pytest.mark.parametrize("name", ["guard-1", "acme-guard-1"])
def test_hosts_are_chosen_by_key_or_name(name: str) -> None:
    assert [host.key for host in an_inventory().only((name,)).hosts] == ["guard-1"]


def test_those_that_lead_to_the_chosen_ones_stay_known() -> None:
    inventory = an_inventory()

    assert inventory.only(("vault-1",)).ways == inventory.ways


def test_choosing_none_chooses_all_and_an_unknown_one_is_named() -> None:
    inventory = an_inventory()

    assert inventory.only(()) == inventory
    with pytest.raises(RefusedError, match="no host guard-9") as refused:
        inventory.only(("agent-1", "guard-9"))
    assert "agent-1" in refused.value.remedy


def test_an_agent_s_host_is_told_its_partners_by_address_and_no_others() -> None:
    plan = a_plan(tier="standard")
    inventory = an_inventory(plan)
    agent = next(host for host in inventory.hosts if host.role is Role.AGENT)

    told = variables_of(agent, "acme")

    partners = [host for host in inventory.hosts if host.role in {Role.GUARD, Role.DATABASE}]
    assert told["agent_runtime_peers"] == [f"{host.target.private_ip}/32" for host in partners]
    assert told["agent_runtime_address"] == str(agent.target.private_ip)
    assert told["base_hosts"] == [
        {"address": str(host.target.private_ip), "names": [host.name]} for host in partners
    ]
    assert not [name for host in partners for name in variables_of(host, "acme") if name.startswith("agent")]


def test_an_agent_s_account_reaches_what_the_flow_table_says_of_guards_and_databases() -> None:
    inventory = an_inventory(a_plan(tier="standard"))
    agent = next(host for host in inventory.hosts if host.role is Role.AGENT)

    account = variables_of(agent, "acme")["ufw_outgoing_accounts"][0]  # type: ignore[index]

    wanted = {
        (port, f"{host.target.private_ip}/32")
        for host in inventory.hosts
        for port in {Role.GUARD: (8443, 8444), Role.DATABASE: (5432, 6379)}.get(host.role, ())
    }
    assert {(rule["port"], rule["destination"]) for rule in account["rules"]} == wanted
    # Nothing that the host itself may not reach.
    areas = {(rule.port, rule.protocol) for rule in agent.outgoing}
    assert {(rule["port"], rule["protocol"]) for rule in account["rules"]} <= areas


def test_the_role_s_own_number_of_the_account_is_the_firewall_s() -> None:
    text = (PLAYBOOKS / "roles/agent_runtime/defaults/main.yml").read_text(encoding="utf-8")

    assert yaml.safe_load(text)["agent_runtime_uid"] == AGENT_UID
