"""Run a command where one of a tenant's administrators stands in the sandbox: in a place of their own beside the hosts.

In earnest they come over the tailnet. The sandbox's machines are on none of this machine's networks, so a visitor is
plugged in among the tenant's agents, who may reach its Vault.

Usage, as root: .venv/bin/python tools/as_tenant.py TENANT FOLDER COMMAND…
FOLDER is the tenant's, and becomes the current one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mutx_sandbox.machines.life import Machines
from mutx_sandbox.machines.places import machines_folder

from mutx_infra.naming import host_name

NAME = "tenant-admin"
_FROM_THE_END = 2
"""The address before the subnet's last one, which no machine has: AWS keeps it."""


def main(tenant: str, folder: str, *command: str) -> None:
    """Become the command."""
    machines = Machines(
        machines_folder(Path(os.environ.get("MUTX_INFRA_STATE", ".mutx")).absolute() / "sandbox")
    )
    agent, vault = (
        next(s.machine for s in machines.states() if s.machine.name == host_name(tenant, key))
        for key in ("agent-1", "vault-1")
    )
    subnet = agent.wire.subnet
    address = subnet[subnet.num_addresses - _FROM_THE_END]
    place = machines.visit(NAME, agent.wire.vpc, str(subnet), f"{address}/{subnet.prefixlen}")
    own = Path(folder).absolute()
    os.chdir(own)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(own),
        "VAULT_ADDR": f"https://{vault.wire.address}:8200",
        "VAULT_CLIENT_CERT": str(own / "ann.pem"),
        "VAULT_CLIENT_KEY": str(own / "ann.key"),
    }
    os.execvpe("nsenter", ["nsenter", f"--net={place}", *command], variables)  # noqa: S606, S607 - the command is the caller's


if __name__ == "__main__":
    main(*sys.argv[1:])
