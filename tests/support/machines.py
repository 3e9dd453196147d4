"""Machines of a sandbox for tests: logged into as the toolkit does, looked at from anywhere in their networks."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mutx_sandbox.machines.kernel import inside
from mutx_sandbox.machines.life import Machines
from mutx_sandbox.machines.machine import MachineState
from mutx_sandbox.machines.places import authority_file
from mutx_sandbox.machines.tools import which

from mutx_infra.access import SshRoute
from mutx_infra.adapters.ssh_files import SshFileStore
from tests.support.checkout import Checkout

NSENTER, SSH, SSH_KEYGEN = (which(name) or name for name in ("nsenter", "ssh", "ssh-keygen"))


class Answer(StrEnum):
    """What comes back to who knocks at a port."""

    OPEN = "open"
    REFUSED = "refused"
    SILENCE = "silence"
    NO_WAY = "no way there"


@dataclass(frozen=True)
class Visitor:
    """Somebody in a network of the machines, with addresses of their own."""

    name: str
    place: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [NSENTER, f"--net={self.place}", *command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    def knock(self, address: str, port: int, *, udp: bool = False, patience_s: float = 1.0) -> Answer:
        """Try a port. For UDP a reply counts as open, and who drops cannot be told from who listens in silence."""
        kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def knock() -> Answer:
            with socket.socket(family, kind) as knocking:
                knocking.settimeout(patience_s)
                try:
                    knocking.connect((address, port))
                    if udp:
                        knocking.send(b"knock")
                        knocking.recv(1)
                except ConnectionRefusedError:
                    return Answer.REFUSED
                except TimeoutError:
                    return Answer.SILENCE
                except OSError:
                    return Answer.NO_WAY
            return Answer.OPEN

        return inside(self.place, knock)


@dataclass(frozen=True)
class Hosts:
    """The hosts of one checkout's sandbox."""

    checkout: Checkout

    @property
    def folder(self) -> Path:
        return self.checkout.root / ".mutx/sandbox/machines"

    @property
    def machines(self) -> Machines:
        return Machines(self.folder)

    def up(self, *arguments: str) -> dict[str, Any]:
        """`sandbox hosts up`; returns what it printed, with the hosts by name."""
        done = self.checkout.run("sandbox", "hosts", "up", *arguments, "--json", limit_s=300)
        printed = json.loads(done.stdout)
        return {**printed, "hosts": {host["name"]: host for host in printed["hosts"]}}

    def files(self, tenant: str = "trial") -> Path:
        """A tenant's SSH files, with a certificate that is good for a while: a tier takes longer than one lasts."""
        home = self.checkout.root / ".mutx/hosts/sandbox"
        if (home / tenant).exists():
            authority = authority_file(self.checkout.root / ".mutx/sandbox")
            SshFileStore(home, authority, SshRoute()).ensure_certificate(tenant)
        return home / tenant

    def ssh(
        self, name: str, command: str, *options: str, tenant: str = "trial"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the converge account; options come first, and what comes first wins."""
        return subprocess.run(
            [SSH, *options, "-F", str(self.files(tenant) / "ssh_config"), name, command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def answer(self, name: str, command: str, tenant: str = "trial") -> str:
        """Run a command that must succeed; returns what it printed."""
        done = self.ssh(name, command, tenant=tenant)
        assert done.returncode == 0, f"{name}: {command}: {done.stderr}"
        return done.stdout.strip()

    def await_login(self, name: str, within_s: float, tenant: str = "trial") -> None:
        deadline = time.monotonic() + within_s
        while (done := self.ssh(name, "true", tenant=tenant)).returncode != 0:
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.2)

    def restart(self, name: str, within_s: float) -> None:
        """Have a machine restarted, and wait for the new one: the old one answers for a moment still."""
        boots = self.state(name).boots
        self.checkout.run("sandbox", "hosts", "reboot", name)
        deadline = time.monotonic() + within_s
        while self.state(name).boots == boots:
            assert time.monotonic() < deadline, f"{name} does not restart"
            time.sleep(0.1)
        self.await_login(name, within_s)

    def state(self, name: str) -> MachineState:
        return next(state for state in self.machines.states() if state.machine.name == name)

    def visitor(self, name: str, network: str, subnet: str, *addresses: str) -> Visitor:
        return Visitor(name, self.machines.visit(name, network, subnet, *addresses))


def processes_with(text: str) -> list[int]:
    """Processes of this machine with a text in their command line or environment's directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found
