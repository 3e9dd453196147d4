"""What machines run on, behind one interface; which one can be had here is asked, never assumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from mutx_sandbox.machines.machine import BackendName, Machine
from mutx_sandbox.machines.nspawn import Nspawn
from mutx_sandbox.machines.qemu import Qemu
from mutx_sandbox.machines.uml import UserModeLinux

from mutx_infra.errors import RefusedError


class Backend(Protocol):
    """One way to run a machine from a directory that is its disk."""

    @property
    def needs(self) -> Mapping[str, str]:
        """Return the commands that it takes, with their Debian packages."""

    def obstacle(self) -> str:
        """Say why it cannot be used on this machine; empty where it can. What `needs` names is there."""

    def prepare(self, machine: Machine, root: Path, scratch: Path) -> None:
        """Make a machine's root ready for this backend, before each start."""

    def command(self, machine: Machine, root: Path, scratch: Path) -> list[str]:
        """Return what runs the machine in the foreground; it ends with the machine, 133 meaning a restart.

        `root` is the machine's root file system, `scratch` a directory of its own for what the backend keeps.
        """

    def ask_to_stop(self, machine: Machine, pid: int) -> None:
        """Have a running machine shut down in order."""


BACKENDS: dict[BackendName, Backend] = {
    BackendName.NSPAWN: Nspawn(),
    BackendName.UML: UserModeLinux(),
    BackendName.QEMU: Qemu(),
}


def usable_backend(name: BackendName) -> Backend:
    """Return a backend that works here.

    Raises:
        RefusedError: it does not; says why (code `backend-unusable`).
    """
    backend = BACKENDS[name]
    obstacle = backend.obstacle()
    if obstacle:
        raise RefusedError(
            f"machines cannot run on {name} here: {obstacle}",
            code="backend-unusable",
            remedy="choose another one with `--backend`",
        )
    return backend
