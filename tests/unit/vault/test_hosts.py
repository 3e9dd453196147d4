"""Which host runs which node of a tenant's Vault, which logs in to it, and what the roles are told of that."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from mutx_infra.adapters.ansible_inventory import render_inventory
from mutx_infra.adapters.vault_templates import policy_texts, render_agent, render_server
from mutx_infra.byok import Product, StaticSeal, TransitSeal
from mutx_infra.flows import Role
from mutx_infra.guard_hosts import GUARD_ACCOUNTS
from mutx_infra.inventory import AGENT_UID, make_inventory
from mutx_infra.plan import TenantPlan
from mutx_infra.vault.agent import key_file, key_paths
from mutx_infra.vault.hosts import VaultHost, VaultTerms, server_plan
from mutx_infra.vault.layout import make_layout
from mutx_infra.vault.server import LOOPBACK
from tests.support.authorities import make_authority
from tests.support.specs import a_plan, outputs_of

TENANT, PLATFORM = make_authority("acme administrators"), make_authority("mutx platform")


def terms(**more: Any) -> VaultTerms:  # Any: one field of several kinds
    layout = make_layout("acme", policy_texts(), TENANT.pem, PLATFORM.pem, LOOPBACK)
    return VaultTerms(**{"layout": layout, "seal": StaticSeal(type="static"), **more})


def told(plan: TenantPlan, vault: VaultTerms | None) -> dict[str, dict[str, Any]]:
    """Return each host's variables by its key, as the playbooks get them."""
    inventory = make_inventory(plan, outputs_of(plan), vault=vault)
    groups = json.loads(render_inventory(inventory, Path("ssh_config")))["all"]["children"]
    return {
        name.removeprefix("acme-"): values
        for group in groups.values()
        for name, values in group["hosts"].items()
    }


def three_nodes() -> list[VaultHost]:
    return [
        VaultHost(f"acme-vault-{n}", f"vault-{n}", Role.VAULT, IPv4Address(f"10.0.1.{n}")) for n in (2, 1, 3)
    ]


def test_without_terms_no_host_is_told_of_a_vault() -> None:
    everything = told(a_plan(), None)

    assert not [name for values in everything.values() for name in values if name.startswith("vault")]


def test_the_vault_s_host_is_told_all_of_its_server() -> None:
    plan = a_plan()
    address = next(h["private_ip"] for k, h in outputs_of(plan)["hosts"].items() if k == "vault-1")

    values = told(plan, terms())["vault-1"]

    assert values["vault_names"] == ["acme-vault-1", "localhost", address, "127.0.0.1"]
    assert values["vault_url"] == f"https://{address}:8200"
    assert (values["vault_seal"], values["vault_seal_authority"]) == ("static", "")
    assert 'initialize "layout"' in values["vault_server_config"]
    # Ansible would render what the policies leave for the Vault.
    assert values["vault_server_config"].startswith("{% raw %}#")
    assert "{{identity.entity.metadata.host}}" in values["vault_server_config"]
    assert "PRIVATE KEY" not in json.dumps(values)
    assert "vault_agent_config" not in values


@pytest.mark.parametrize("tier", ["starter", "standard"])
def test_agents_guards_and_databases_log_in_and_nobody_else(tier: str) -> None:
    everything = told(a_plan(tier=tier), terms())

    logging_in = {
        key.rpartition("-")[0] for key, values in everything.items() if "vault_agent_config" in values
    }

    assert logging_in == {"agent", "guard", "database"}


def test_an_agent_is_given_its_own_key_or_the_shared_one_and_others_are_given_none() -> None:
    everything = told(a_plan(), terms())

    keys = {each["file"]: each["sources"] for each in everything["agent-1"]["vault_agent_settings"]["keys"]}

    assert keys["/run/mutx-agent-secrets/OPENAI_KEY"] == [
        "byok/data/agents/agent-1/openai",
        "byok/data/shared/openai",
    ]
    assert [each["sources"] for each in everything["guard-1"]["vault_agent_settings"]["keys"]] == [
        ["byok/data/hosts/acme-guard-1/mask"]
    ] * len(GUARD_ACCOUNTS)
    key_of_provider = everything["agent-1"]["agent_runtime_key_file"]
    assert key_of_provider.startswith("/run/mutx-agent-secrets/{{ agent_runtime_provider")
    assert "agent_runtime_key_file" not in everything["guard-1"]
    assert everything["agent-1"]["vault_agent_settings"]["places"] == [
        {"path": "/run/mutx-agent-secrets", "group": AGENT_UID}
    ]


def test_each_of_a_guard_s_units_has_a_copy_of_the_host_s_certificate_that_it_alone_reads() -> None:
    settings = told(a_plan(), terms())["guard-1"]["vault_agent_settings"]

    given = {(each["file"], each["owner"], *each["sources"]) for each in settings["certificates"]}
    assert given == {
        (f"/run/{unit}-secrets/{name}", unit, source)
        for unit in GUARD_ACCOUNTS
        for name, source in {
            "server.pem": "/run/mutx-vault/service.pem",
            "ca.pem": "/run/mutx-vault/service-ca.pem",
        }.items()
    }
    assert settings["places"] == [
        {"path": f"/run/{unit}-secrets", "group": group} for unit, group in GUARD_ACCOUNTS.items()
    ]
    assert settings["waiting"] == [f"{unit}.service" for unit in GUARD_ACCOUNTS]
    assert settings["installs"] == {}


def test_authorities_and_certificates_reach_the_hosts_that_they_are_for() -> None:
    vault = terms(authorities={"acme-vault-1": "AUTHORITY\n"}, certificates={"acme-agent-1": "SIGNED\n"})

    everything = told(a_plan(), vault)

    assert everything["agent-1"]["vault_agent_certificate"] == "SIGNED\n"
    assert everything["guard-1"]["vault_agent_certificate"] == ""
    assert everything["guard-1"]["vault_agent_authorities"] == "AUTHORITY\n"
    assert everything["vault-1"]["vault_peer_authorities"] == []


def test_the_authority_of_the_tenant_s_own_vault_comes_with_its_seal() -> None:
    seal = TransitSeal(type="transit", address="https://vault.acme.example", key="seal", ca=TENANT.pem)

    values = told(a_plan(), terms(seal=seal))["vault-1"]

    assert (values["vault_seal"], values["vault_seal_authority"]) == ("transit", seal.ca)
    assert 'seal "transit"' in values["vault_server_config"]


def test_a_spec_s_server_reaches_the_role() -> None:
    seal = TransitSeal(type="transit", address="https://vault.acme.example", key="seal", ca=TENANT.pem)

    usual = told(a_plan(), terms())["vault-1"]
    values = told(a_plan(), terms(seal=seal, product=Product.VAULT))["vault-1"]

    assert (usual["vault_product"], usual["vault_awaits_tenant"]) == ("openbao", False)
    assert (values["vault_product"], values["vault_awaits_tenant"]) == ("vault", True)
    assert "initialize" not in values["vault_server_config"]


def test_of_three_nodes_the_first_makes_the_vault_and_each_knows_the_others() -> None:
    nodes = three_nodes()

    plans = {node.key: server_plan(node, nodes, terms()) for node in nodes}

    assert [key for key, plan in plans.items() if plan and plan.layout is not None] == ["vault-1"]
    assert [str(peer) for peer in plans["vault-2"].peers] == ["10.0.1.1", "10.0.1.3"]  # type: ignore[union-attr]
    joining = render_server(plans["vault-3"])  # type: ignore[arg-type]
    assert "initialize" not in joining
    assert joining.count("retry_join") == 2


def test_an_agent_s_configuration_names_its_own_role_and_holds_no_key() -> None:
    inventory = make_inventory(a_plan(), outputs_of(a_plan()), vault=terms())
    plan = inventory.host("agent-1").vault_agent
    assert plan is not None

    text = render_agent(plan)

    assert 'name   = "acme-agent-1"' in text
    assert 'pkiCert \\"pki/issue/acme-agent-1\\" \\"common_name=acme-agent-1\\" \\"ttl=24h\\"' in text
    assert "byok/" not in text
    assert (key_file("openai"), key_paths("agent-2", "x")[0]) == ("OPENAI_KEY", "byok/data/agents/agent-2/x")
