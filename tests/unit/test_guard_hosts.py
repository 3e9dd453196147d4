"""What guards and the agents behind them are told of each other, and when a guard must have a judge."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from mutx_infra.firewall import ANYWHERE
from mutx_infra.flows import Role
from mutx_infra.guard_hosts import GUARD_ACCOUNTS, GuardTerms, guard_of, guard_terms
from mutx_infra.guardrail import Family, Guardrail, Judge, Provider, Waiver
from mutx_infra.inventory import Inventory, make_inventory, variables_of
from tests.support.specs import a_plan, outputs_of

ROLES = Path(__file__).resolve().parents[2] / "playbooks/roles"
ROLE = ROLES / "guardrail"
OURS = Judge(model="Qwen/Qwen3Guard-Gen-4B", family=Family.QWEN3GUARD)
JUDGE = Judge(url="http://127.0.0.1:8000/v1", model="Qwen/Qwen3Guard-Gen-4B", family=Family.QWEN3GUARD)
WAIVER = Waiver(owner="ann@example.com", reason="the node has no GPU yet", expires="2027-03-31")
LAST_DAY, DAY_AFTER = date(2027, 3, 31), date(2027, 4, 1)


def an_inventory(tier: str = "standard", spec: Guardrail | None = None) -> Inventory:
    plan = a_plan(tier=tier)
    return make_inventory(plan, outputs_of(plan), guard=GuardTerms(spec or Guardrail()))


def told(inventory: Inventory, key: str) -> dict[str, Any]:
    return dict(variables_of(inventory.host(key), "acme"))


def test_a_guard_answers_the_control_plane_and_knows_its_agents_by_certificate_and_address() -> None:
    inventory = an_inventory()

    values = told(inventory, "guard-1")

    assert values["guardrail_callers"] == ["mutx-control-plane"]
    assert values["guardrail_agents"] == {
        "agent-1": {"certificate": "acme-agent-1", "url": "https://acme-agent-1:8080"},
        "agent-2": {"certificate": "acme-agent-2", "url": "https://acme-agent-2:8080"},
        "guard-1": {"certificate": "acme-guard-1"},
    }
    agents = [inventory.host(key) for key in ("agent-1", "agent-2")]
    assert values["base_hosts"] == [
        {"address": str(host.target.private_ip), "names": [host.name]} for host in agents
    ]
    assert values["guardrail_peers"] == [
        *(f"{host.target.private_ip}/32" for host in agents),
        "100.64.0.0/10",
        "fd7a:115c:a1e0::/48",
    ]


def test_several_guards_of_a_tenant_share_the_redis_of_its_data_host_and_a_single_one_has_none() -> None:
    shared, single = an_inventory("dedicated"), an_inventory("standard")

    guard, database = told(shared, "guard-2"), told(shared, "database-1")

    address = f"{shared.host('database-1').target.private_ip}/32"
    assert (guard["guardrail_redis_host"], guard["guardrail_redis_port"]) == ("acme-database-1", 6379)
    assert database["redis_guards"] == ["acme-guard-1", "acme-guard-2"]
    assert {"address": address.removesuffix("/32"), "names": ["acme-database-1"]} in guard["base_hosts"]
    assert address in guard["guardrail_peers"]
    for account in guard["ufw_outgoing_accounts"]:
        assert [rule["port"] for rule in account["rules"] if rule["destination"] == address] == [6379]
    assert "guardrail_redis_host" not in told(single, "guard-1")
    assert told(single, "database-1")["redis_guards"] == []
    assert not [rule for rule in single.host("guard-1").outgoing if rule.port == 6379]


def test_the_judging_account_reaches_agents_alone_and_the_egress_names_and_providers_alone() -> None:
    inventory = an_inventory()
    guard = inventory.host("guard-1")

    judging, egress = told(inventory, "guard-1")["ufw_outgoing_accounts"]

    agents = {f"{host.target.private_ip}/32" for host in inventory.hosts if host.role is Role.AGENT}
    assert judging["uid"] == GUARD_ACCOUNTS["mutx-guardrail"]
    assert {(rule["port"], rule["destination"]) for rule in judging["rules"]} == {(8080, at) for at in agents}
    assert egress["uid"] == GUARD_ACCOUNTS["mutx-guard-egress"]
    assert {rule["port"] for rule in egress["rules"]} == {53, 443}
    assert [rule["destination"] for rule in egress["rules"] if rule["port"] == 443] == [ANYWHERE]
    # Nothing that the host itself may not reach.
    areas = {(rule.port, rule.protocol) for rule in guard.outgoing}
    assert {(rule["port"], rule["protocol"]) for rule in (*judging["rules"], *egress["rules"])} <= areas


def test_agents_go_nowhere_unless_the_spec_says_where() -> None:
    spec = Guardrail(providers=(Provider.OPENAI,), tunnels=("*.example.com",))

    silent, said = (told(an_inventory("starter", each), "guard-1") for each in (None, spec))

    assert silent["guardrail_egress_agents"] == {}
    assert said["guardrail_egress_agents"] == {
        "agent-1": {"names": ["acme-agent-1"], "providers": ["openai"], "tunnels": ["*.example.com"]}
    }


def test_agents_leave_by_guards_in_turn_and_answer_every_guard() -> None:
    inventory = an_inventory("dedicated")

    proxies = [told(inventory, f"agent-{number}")["agent_runtime_proxy"] for number in (1, 2, 3)]

    assert proxies == ["https://acme-guard-1:8444", "https://acme-guard-2:8444", "https://acme-guard-1:8444"]
    assert told(inventory, "agent-3")["agent_runtime_callers"] == ["acme-guard-1", "acme-guard-2"]


@pytest.mark.parametrize(
    ("spec", "is_judged"),
    [
        (Guardrail(providers=(Provider.OPENAI,)), True),
        (Guardrail(providers=(Provider.OPENAI,), tunnels=("api.openai.com",)), True),
        (Guardrail(tunnels=("api.openai.com",)), False),
        (Guardrail(), False),
    ],
    ids=["providers", "providers and tunnels", "tunnels", "nowhere"],
)
def test_agents_take_the_judged_way_where_there_is_one(spec: Guardrail, is_judged: bool) -> None:
    inventory = an_inventory("starter", spec)

    values = told(inventory, "agent-1")

    specs = yaml.safe_load((ROLES / "agent_runtime/meta/argument_specs.yml").read_text("utf-8"))
    assert values["agent_runtime_is_judged"] is is_judged
    assert {name for name in values if name.startswith("agent_runtime")} <= set(
        specs["argument_specs"]["main"]["options"]
    )


def test_a_tenth_guard_comes_after_the_second() -> None:
    guards = {f"guard-{number}": f"g{number}" for number in (10, 2, 1)}

    assert [guard_of(f"agent-{number}", guards) for number in (1, 2, 3)] == ["g1", "g2", "g10"]
    assert guard_of("agent-1", {}) is None


def test_only_guards_and_agents_are_told_of_the_guardrail() -> None:
    inventory = an_inventory()

    roles = {
        host.role
        for host in inventory.hosts
        if any(name.startswith("guardrail") for name in variables_of(host, "acme"))
    }

    assert roles == {Role.GUARD}


@pytest.mark.parametrize(
    ("spec", "is_production", "today", "profile"),
    [
        (None, False, LAST_DAY, "without-judge"),
        (None, True, LAST_DAY, "production"),
        (Guardrail(judge=JUDGE), False, LAST_DAY, "production"),
        (Guardrail(judge=JUDGE, without_judge=WAIVER), True, LAST_DAY, "production"),
        (Guardrail(without_judge=WAIVER), True, LAST_DAY, "without-judge"),
        (Guardrail(without_judge=WAIVER), True, DAY_AFTER, "production"),
    ],
    ids=["trial", "production", "judge in a trial", "judge beats waiver", "waived", "waiver expired"],
)
def test_a_production_guard_wants_a_judge_until_somebody_bears_that_it_has_none(
    spec: Guardrail | None, is_production: bool, today: date, profile: str
) -> None:
    assert guard_terms(spec, is_production=is_production, today=today).profile == profile


def test_the_judge_of_the_spec_reaches_the_role() -> None:
    values = told(an_inventory(spec=Guardrail(judge=JUDGE)), "guard-1")

    named = {name: values[f"guardrail_judge_{name}"] for name in ("url", "model", "family")}
    assert named == JUDGE.model_dump(mode="json")


def test_a_judge_without_a_server_of_the_operator_s_is_run_on_the_guard_and_known_by_its_key() -> None:
    values = told(an_inventory(spec=Guardrail(judge=OURS)), "guard-1")

    defaults = yaml.safe_load((ROLES / "judge/defaults/main.yml").read_text("utf-8"))
    files = yaml.safe_load((ROLES / "judge/vars/main/main.yml").read_text("utf-8"))
    assert values["judge_model"] == values["guardrail_judge_model"] == OURS.model
    assert values["guardrail_judge_url"] == f"http://127.0.0.1:{values['judge_port']}/v1"
    assert values["guardrail_judge_key_file"] == files["judge_key_file"]
    assert {name for name in values if name.startswith("judge_")} <= set(defaults)
    assert [values["judge_port"], values["judge_uid"]] == [defaults["judge_port"], defaults["judge_uid"]]


def test_a_judge_of_ours_begins_no_connection_off_its_host() -> None:
    accounts = told(an_inventory(spec=Guardrail(judge=OURS)), "guard-1")["ufw_outgoing_accounts"]

    assert accounts[2:] == [{"uid": 963, "comment": "mutx-judge", "rules": []}]


@pytest.mark.parametrize("spec", [None, Guardrail(judge=JUDGE)], ids=["no judge", "a server of their own"])
def test_no_judge_of_ours_is_run_where_the_spec_wants_none(spec: Guardrail | None) -> None:
    values = told(an_inventory(spec=spec), "guard-1")

    assert {name for name in values if name.startswith("judge_")} == set()
    assert len(values["ufw_outgoing_accounts"]) == 2
    assert "guardrail_judge_key_file" not in values


def test_the_role_s_own_numbers_of_the_accounts_are_the_firewall_s() -> None:
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text("utf-8"))

    assert [defaults["guardrail_uid"], defaults["guardrail_egress_uid"]] == list(GUARD_ACCOUNTS.values())


def test_every_variable_that_a_guard_is_told_is_one_of_the_role() -> None:
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text("utf-8"))
    known = set(options["argument_specs"]["main"]["options"])

    values = told(an_inventory(spec=Guardrail(judge=OURS)), "guard-1")

    assert {name for name in values if name.startswith("guardrail")} <= known
