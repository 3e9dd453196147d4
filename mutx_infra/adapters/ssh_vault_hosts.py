"""Hosts of a tenant's Vault, over SSH as the converge account: what they leave to be fetched, and the Vault itself."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mutx_infra.adapters.ssh_files import SshFileStore
from mutx_infra.errors import OutsideError
from mutx_infra.inventory import Inventory, InventoryHost

LIMIT_S = 30.0
_NOT_THERE = 44
_READ = 'test -e "$1" || exit 44; exec cat -- "$1"'
_LOOPBACK = "127.0.0.1"
_SHOWN = 300
_LOOK_EVERY_S = 0.05


class SshVaultHosts:
    """`VaultHosts` by the `ssh_config` that Ansible goes by.

    Args:
        ssh: writes what SSH needs to reach a tenant's hosts.
    """

    def __init__(self, ssh: SshFileStore) -> None:
        self._ssh = ssh

    def read(self, inventory: Inventory, host: InventoryHost, path: str) -> str | None:
        """Return a file of a host's; None where there is none."""
        asked = shlex.join(["sudo", "-n", "sh", "-c", _READ, "sh", path])
        command = [*self._ssh_to(inventory), host.name, asked]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise _unreadable(host, str(exc)) from exc
        if done.returncode == _NOT_THERE:
            return None
        if done.returncode != 0:
            raise _unreadable(host, done.stderr)
        return done.stdout

    @contextmanager
    def reach(self, inventory: Inventory, host: InventoryHost, port: int) -> Iterator[str]:
        """Yield the URL at which a host's loopback port is reached from here.

        The far end runs `cat`, which ends with this process, however that ends; and the way with it.
        """
        local = _free_port()
        forward = f"{_LOOPBACK}:{local}:{_LOOPBACK}:{port}"
        command = [
            *self._ssh_to(inventory),
            "-o",
            "ExitOnForwardFailure=yes",
            "-L",
            forward,
            host.name,
            "cat",
        ]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as way:
            try:
                _await(way, local, host)
                yield f"https://{_LOOPBACK}:{local}"
            finally:
                assert way.stdin is not None  # noqa: S101 - it was asked for
                way.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    way.wait(2)
                way.terminate()

    def _ssh_to(self, inventory: Inventory) -> list[str]:
        config: Path = self._ssh.prepare(inventory.tenant, inventory.ways).config
        return ["ssh", "-F", str(config), "-T"]


def _await(way: subprocess.Popen[str], port: int, host: InventoryHost) -> None:
    """Wait until the way stands: SSH listens once it has logged in."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((_LOOPBACK, port)) == 0:
                return
        if way.poll() is not None:
            raise _unreadable(host, way.stderr.read() if way.stderr else "")
        if time.monotonic() > deadline:
            raise _unreadable(host, "no answer in time")
        time.sleep(_LOOK_EVERY_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _unreadable(host: InventoryHost, said: str) -> OutsideError:
    return OutsideError(
        f"{host.name} does not answer over SSH",
        code="host-unreadable",
        remedy="see that it runs and has joined the tailnet, then run the same command; a Vault that its tenant has "
        "claimed lets nobody in: have the claim's receipt taken down with `mutx-infra vault handed-over`",
        detail=" ".join(said.split())[:_SHOWN],
    )
