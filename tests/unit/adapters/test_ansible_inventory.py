"""The inventory as Ansible reads it: groups, how each host is reached, and that nothing secret is in it."""

from __future__ import annotations

import json
import shlex
from typing import Any

from mutx_infra.adapters.ansible_inventory import render_inventory
from mutx_infra.environment import HostAccess
from mutx_infra.inventory import make_inventory
from tests.support.specs import a_plan, outputs_of

PLAN = a_plan()
INVENTORY = make_inventory(PLAN, outputs_of(PLAN))
ACCESS = HostAccess(key_file="/keys/mutx id", known_hosts_file="/keys/known hosts")


def rendered(access: HostAccess = ACCESS) -> Any:
    return json.loads(render_inventory(INVENTORY, access))["all"]


def host_of(document: Any, key: str) -> Any:
    hosts = [group["hosts"] for group in document["children"].values()]
    return next(found[f"acme-{key}"] for found in hosts if f"acme-{key}" in found)


def test_hosts_stand_in_the_group_of_their_role() -> None:
    groups = rendered()["children"]

    assert {name: list(group["hosts"]) for name, group in groups.items()} == {
        "agent": ["acme-agent-1"],
        "database": ["acme-database-1"],
        "guard": ["acme-guard-1"],
        "mgmt": ["acme-mgmt-1"],
        "vault": ["acme-vault-1"],
    }


def test_ssh_asks_nothing_trusts_known_hosts_only_and_reads_nobody_s_settings() -> None:
    options = shlex.split(rendered()["vars"]["ansible_ssh_common_args"])

    assert options[:2] == ["-F", "/dev/null"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"} <= set(options)
    assert "UserKnownHostsFile=/keys/known hosts" in options
    assert options[options.index("-i") + 1] == "/keys/mutx id"


def test_a_host_behind_mgmt_is_reached_through_it_and_known_by_its_own_name() -> None:
    database = host_of(rendered(), "database-1")

    extra = shlex.split(database["ansible_ssh_extra_args"])
    proxy = next(option for option in extra if option.startswith("ProxyCommand="))
    assert database["ansible_host"] == "acme-database-1"
    assert {"HostName=10.0.1.132", "HostKeyAlias=acme-database-1"} <= set(extra)
    assert shlex.split(proxy)[-1] == "mutx@acme-mgmt-1"
    assert "StrictHostKeyChecking=yes" in proxy
    assert "ansible_ssh_extra_args" not in host_of(rendered(), "agent-1")


def test_a_file_of_ssh_settings_says_how_every_host_is_reached() -> None:
    document = rendered(HostAccess(ssh_config="/run/ssh_config", user="converge"))

    assert "ansible_ssh_extra_args" not in host_of(document, "database-1")
    assert shlex.split(document["vars"]["ansible_ssh_common_args"])[:2] == ["-F", "/run/ssh_config"]
    assert document["vars"]["ansible_user"] == "converge"


def test_equal_inventories_give_equal_text() -> None:
    assert render_inventory(INVENTORY, ACCESS) == render_inventory(INVENTORY, ACCESS)
