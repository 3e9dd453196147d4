"""An inventory as Ansible reads it: groups by role, connection settings, the variables of the roles."""

from __future__ import annotations

import json
import shlex

from mutx_infra.environment import HostAccess
from mutx_infra.inventory import Inventory, InventoryHost, variables_of

PYTHON = "/usr/bin/python3"
"""Debian's and Ubuntu's; naming it spares a look at every host."""


def render_inventory(inventory: Inventory, access: HostAccess) -> str:
    """Return the inventory as JSON, which Ansible's YAML plugin reads too; equal inventories give equal text."""
    groups: dict[str, dict[str, object]] = {}
    for host in inventory.hosts:
        members = groups.setdefault(host.group, {"hosts": {}})["hosts"]
        assert isinstance(members, dict)  # noqa: S101 - made in the line above
        members[host.name] = {**connection_of(host, access), **variables_of(host, inventory.tenant)}
    document = {"all": {"children": groups, "vars": _shared(access)}}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def connection_of(host: InventoryHost, access: HostAccess) -> dict[str, object]:
    """Return how one host is reached: always by its own name, so that host keys and reports go by it."""
    if access.ssh_config is not None or host.jump is None:
        return {"ansible_host": host.name}
    jump = shlex.quote(f"ProxyCommand=ssh -W %h:%p {' '.join(_options(access))} {access.user}@{host.jump}")
    return {
        "ansible_host": host.name,
        "ansible_ssh_extra_args": f"-o HostName={host.address} -o HostKeyAlias={host.name} -o {jump}",
    }


def _shared(access: HostAccess) -> dict[str, object]:
    return {
        "ansible_user": access.user,
        "ansible_become": True,
        "ansible_python_interpreter": PYTHON,
        "ansible_ssh_common_args": " ".join(_options(access)),
    }


def _options(access: HostAccess) -> list[str]:
    """Return ssh's options: nothing of the caller's own settings, and no host that is not known."""
    options = ["-F", shlex.quote(access.ssh_config or "/dev/null"), "-o", "BatchMode=yes"]
    options += ["-o", "StrictHostKeyChecking=yes"]
    if access.key_file is not None:
        options += ["-i", shlex.quote(access.key_file), "-o", "IdentitiesOnly=yes"]
    if access.known_hosts_file is not None:
        options += ["-o", shlex.quote(f"UserKnownHostsFile={access.known_hosts_file}")]
    return options
