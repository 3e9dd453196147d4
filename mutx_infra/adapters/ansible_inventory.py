"""An inventory as Ansible reads it: groups by role, connection settings, the variables of the roles."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

from mutx_infra.access import CONVERGE_ACCOUNT
from mutx_infra.adapters.vault_templates import render_agent, render_server
from mutx_infra.inventory import Inventory, InventoryHost, variables_of

PYTHON = "/usr/bin/python3"
"""Debian's and Ubuntu's; naming it spares a look at every host."""


def render_inventory(inventory: Inventory, ssh_config: Path) -> str:
    """Return the inventory as JSON, which Ansible's YAML plugin reads too; equal inventories give equal text.

    Args:
        inventory: the hosts.
        ssh_config: the file that says how SSH reaches each of them, by its name.
    """
    groups: dict[str, dict[str, dict[str, object]]] = {}
    for host in inventory.hosts:
        members = groups.setdefault(host.group, {"hosts": {}})["hosts"]
        told = {**variables_of(host, inventory.tenant), **_rendered(host)}
        members[host.name] = {"ansible_host": host.name, **told}
    shared = {
        "ansible_user": CONVERGE_ACCOUNT,
        "ansible_become": True,
        "ansible_python_interpreter": PYTHON,
        "ansible_ssh_common_args": shlex.join(["-F", str(ssh_config)]),
        "ansible_control_path": f"%(directory)s/{_way(ssh_config)}-%%C",
    }
    document = {"all": {"children": groups, "vars": shared}}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _rendered(host: InventoryHost) -> dict[str, object]:
    """Return the configurations that are templates of the toolkit's, not of a role."""
    return {
        **({"vault_server_config": literal(render_server(host.vault_server))} if host.vault_server else {}),
        **({"vault_agent_config": literal(render_agent(host.vault_agent))} if host.vault_agent else {}),
    }


def literal(text: str) -> str:
    """Write a text so that Ansible takes it as it stands: it renders what an inventory holds."""
    return "{% raw %}" + text + "{% endraw %}"


def _way(ssh_config: Path) -> str:
    """Name the connections of one SSH file.

    Ansible names those that it keeps open by host alone: within a minute a plain `ansible-playbook` on another
    environment's tenant of the same name would go on with this one's hosts.
    """
    return hashlib.sha256(str(ssh_config).encode()).hexdigest()[:8]
