"""The inventory as Ansible reads it: groups, how each host is reached, and that nothing of the caller's is used."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from mutx_infra.adapters.ansible_inventory import render_inventory
from mutx_infra.inventory import make_inventory
from tests.support.specs import a_plan, outputs_of

PLAN = a_plan()
INVENTORY = make_inventory(PLAN, outputs_of(PLAN))
CONFIG = Path("/state of ours/ssh_config")


def rendered() -> Any:
    return json.loads(render_inventory(INVENTORY, CONFIG))["all"]


def test_hosts_stand_in_the_group_of_their_role() -> None:
    groups = rendered()["children"]

    assert {name: list(group["hosts"]) for name, group in groups.items()} == {
        "agent": ["acme-agent-1"],
        "database": ["acme-database-1"],
        "guard": ["acme-guard-1"],
        "mgmt": ["acme-mgmt-1"],
        "vault": ["acme-vault-1"],
    }


def test_ssh_goes_by_the_file_that_names_every_host() -> None:
    document = rendered()

    assert shlex.split(document["vars"]["ansible_ssh_common_args"]) == ["-F", str(CONFIG)]
    assert document["vars"]["ansible_user"] == "mutx"
    for group in document["children"].values():
        for name, told in group["hosts"].items():
            assert told["ansible_host"] == name


def test_connections_that_ansible_keeps_open_are_those_of_one_environment() -> None:
    ours, theirs = (
        json.loads(render_inventory(INVENTORY, path))["all"]["vars"]["ansible_control_path"]
        for path in (CONFIG, Path("/production/ssh_config"))
    )

    assert ours != theirs
    assert (ours % {"directory": "/cp"}).startswith("/cp/")
    assert (ours % {"directory": "/cp"}).endswith("-%C")


def test_a_host_is_told_its_rules_and_no_secret() -> None:
    told = rendered()["children"]["database"]["hosts"]["acme-database-1"]

    assert told["ufw_outgoing_policy"] == "deny"
    assert {rule["port"] for rule in told["ufw_incoming_rules"]} == {22, 5432, 6379}
    assert not [name for name in told if "key" in name or "password" in name or "secret" in name]


def test_equal_inventories_give_equal_text() -> None:
    assert render_inventory(INVENTORY, CONFIG) == render_inventory(INVENTORY, CONFIG)
