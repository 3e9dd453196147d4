"""Where a sandbox keeps what machines need, and what its profile says about reaching them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from mutx_sandbox.machines.network import TAILNET_NETWORK
from mutx_sandbox.machines.record import socket_file

REACH = Path(__file__).with_name("reach.py")


def machines_folder(sandbox: Path) -> Path:
    """Return where the machines are kept."""
    return sandbox / "machines"


def authority_file(sandbox: Path) -> Path:
    """Return the private key of the sandbox's SSH authority."""
    return sandbox / "ssh_authority"


def host_access(sandbox: Path, *, follows: bool = False, joins: bool = False) -> dict[str, object]:
    """Return the profile's part about hosts; with `joins` they join a coordination server.

    Where no machines follow the tenants, `tenant create` has none to harden.
    The command runs with no module of anybody's (`-I -S`): SSH starts it for each connection.
    """
    words = [sys.executable, "-I", "-S", str(REACH), str(socket_file(machines_folder(sandbox)))]
    return {
        "ca_key_file": str(authority_file(sandbox)),
        "proxy_command": f"{shlex.join(words).replace('%', '%%')} %h %p",
        "proxy_passes_descriptor": True,
        **({} if joins else {"tailnet_network": str(TAILNET_NETWORK)}),
        "on_create": follows,
    }
