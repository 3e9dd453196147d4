"""Servers of a tenant's Vault that are killed, watched as systemd would, or join it; and one who writes meanwhile."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

from mutx_infra.adapters.hvac_vault import HvacSession
from mutx_infra.adapters.vault_templates import render_server
from mutx_infra.errors import MutxInfraError
from mutx_infra.vault.server import ServerPlan, Start, decide_start
from mutx_infra.vault_ports import Health
from tests.support.vault import BAO, RunningVault
from tests.support.vault_people import deposit
from tests.support.waiting import until

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
JOINING = "acme-vault-9"


class WatchedVault:
    """One node whose server runs as a unit of systemd's kind, with the marks that the role keeps."""

    def __init__(self, vault: RunningVault) -> None:
        self.vault = vault
        self.storage = vault.folder / "storage"
        self._begun, self._complete = vault.folder / "begun", vault.folder / "complete"
        self._process: subprocess.Popen[bytes] | None = None
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.bind(str(vault.folder / "notify"))

    def start(self) -> Start:
        """Do before a start what the rule says, and start."""
        step = decide_start(
            has_store=any(self.storage.iterdir()),
            has_begun=self._begun.exists(),
            is_complete=self._complete.exists(),
        )
        if step is Start.CLEAR:
            shutil.rmtree(self.storage)
            self.storage.mkdir()
        if step in {Start.BEGIN, Start.CLEAR}:
            self._begun.touch()
        with (self.vault.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [BAO, "server", f"-config={self.vault.folder / 'server.hcl'}"],
                stdout=log, stderr=log, cwd=self.vault.folder,
                env={
                    "HOME": str(self.vault.folder), "PATH": "/usr/bin:/bin",
                    "NOTIFY_SOCKET": str(self.vault.folder / "notify"),
                },
            )  # fmt: skip
        return step

    def is_ready(self, within_s: float) -> bool:
        """Wait for the server to say that it is ready; then the start is complete."""
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            self._notified.settimeout(left)
            with suppress(TimeoutError):
                if b"READY=1" in self._notified.recv(4096).split(b"\n"):
                    self._complete.touch()
                    self._begun.unlink(missing_ok=True)
                    return True
        return False

    def kill(self) -> None:
        """Kill the server; what it said before counts, if somebody was there to hear it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=30)
        self._process = None
        self._notified.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                self._notified.recv(4096)

    def close(self) -> None:
        if self._process is not None:
            self.kill()
        self._notified.close()


@contextmanager
def watched_vault() -> Iterator[WatchedVault]:
    """Yield a node that was not started yet."""
    folder = Path(tempfile.mkdtemp(prefix="vault-"))
    made = RunningVault("acme", folder)
    made.prepare()
    watched = WatchedVault(made)
    try:
        yield watched
    finally:
        watched.close()
        shutil.rmtree(folder, ignore_errors=True)


@dataclasses.dataclass
class Node(RunningVault):
    """One that joins a Vault.

    Attributes:
        log: the audit log of the Vault: a node whose audit device differs from the stored one does not serve.
    """

    log: Path = Path("/nonexistent")

    @property
    def plan(self) -> ServerPlan:
        plan = super().plan
        return dataclasses.replace(
            plan,
            node=JOINING,
            layout=None,
            peers=tuple(IPv4Address(a) for a in ADDRESSES if a != self.address),
            paths=dataclasses.replace(
                plan.paths, authorities=str(self.folder / "tls" / "authorities.pem"), audit_log=str(self.log)
            ),
        )

    def lay_out(self, seal_key: bytes) -> None:
        self.prepare()
        (self.folder / "seal.key").write_bytes(seal_key)
        (self.folder / "tls" / "authorities.pem").write_text(self.server_ca.pem)
        (self.folder / "server.hcl").write_text(render_server(self.plan))

    def launch(self) -> None:
        """Start without waiting."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [BAO, "server", f"-config={self.folder / 'server.hcl'}"], stdout=log, stderr=log, cwd=self.folder,
                env={"HOME": str(self.folder), "PATH": "/usr/bin:/bin"},
            )  # fmt: skip

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)
            self.process = None

    def state(self) -> Health | None:
        with suppress(MutxInfraError):
            return self.vault.health()
        return None


@contextmanager
def joining_node(vault: RunningVault, seal_key: bytes) -> Iterator[Node]:
    """Yield a node that asks to join a Vault, as whoever reaches it could."""
    folder = Path(tempfile.mkdtemp(prefix="vault-"))
    node = Node(
        vault.tenant, folder, ADDRESSES[1], vault.tenant_ca, vault.platform_ca, vault.server_ca,
        log=vault.audit_log,
    )  # fmt: skip
    node.api_port, node.cluster_port = vault.api_port, vault.cluster_port
    try:
        node.lay_out(seal_key)
        node.launch()
        yield node
    finally:
        node.kill()
        shutil.rmtree(folder, ignore_errors=True)


def can_enter(vault: RunningVault) -> bool:
    try:
        vault.as_onboarder().end()
    except MutxInfraError:
        return False
    return True


def servers(vault: RunningVault) -> dict[str, bool]:
    """Return all nodes, and whether they vote."""
    try:
        session = vault.as_operator()
        found = (session.read("sys/storage/raft/configuration") or {})["config"]["servers"]
        session.end()
    except MutxInfraError:
        return {}
    return {server["node_id"]: bool(server["voter"]) for server in found}


class Writer:
    """Deposits one key after the other, and remembers which were answered.

    Args:
        entrances: log in, as one who may write, at each of the servers; the next one is tried when one fails.
    """

    def __init__(self, *entrances: Callable[[], HvacSession]) -> None:
        self.done: list[int] = []
        self._entrances = entrances
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def run_until(self, number: int) -> None:
        self._thread.start()
        until(lambda: len(self.done) >= number, "no writes")

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()

    def missing(self, session: HvacSession) -> list[int]:
        """Return those that were answered, and are not there."""
        found = {int(name) for name in session.list("byok/metadata/shared/written")}
        return sorted(set(self.done) - found)

    def _run(self) -> None:
        number, at, session = 0, 0, None
        while not self._stopped.is_set():
            try:
                session = session or self._entrances[at % len(self._entrances)]()
                deposit(session, f"shared/written/{number}", "sk-w")
                self.done.append(number)
            except MutxInfraError:
                at, session = at + 1, None
                self._stopped.wait(0.1)
            number += 1
