"""Servers of a tenant's Vault that are killed: one that is watched as systemd would, and three that are one Vault."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

from mutx_infra.adapters.vault_templates import render_server
from mutx_infra.errors import MutxInfraError
from mutx_infra.vault.server import ServerPlan, Start, decide_start
from mutx_infra.vault_ports import Health
from tests.support.vault import BAO, RunningVault

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
WITHIN_S = 60.0


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
    """One of three; the first makes what there is, the others join.

    Attributes:
        log: the audit log of all three: a node whose audit device differs from the stored one does not serve.
    """

    number: int = 1
    log: Path = Path("/nonexistent")

    @property
    def plan(self) -> ServerPlan:
        plan = super().plan
        return dataclasses.replace(
            plan,
            node=f"{self.tenant}-vault-{self.number}",
            layout=plan.layout if self.number == 1 else None,
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

    @property
    def is_leader(self) -> bool:
        state = self.state()
        return state is not None and state.is_initialized and not state.is_sealed and not state.is_standby


@contextmanager
def three_nodes() -> Iterator[list[Node]]:
    """Yield three nodes of one Vault, all of them in it."""
    folders = [Path(tempfile.mkdtemp(prefix="vault-")) for _ in ADDRESSES]
    log = folders[0] / "audit" / "audit.log"
    first = Node("acme", folders[0], ADDRESSES[0], log=log)
    others = [
        Node(
            "acme",
            folder,
            address,
            first.tenant_ca,
            first.platform_ca,
            first.server_ca,
            number=number,
            log=log,
        )
        for number, (folder, address) in enumerate(zip(folders[1:], ADDRESSES[1:], strict=True), 2)
    ]
    nodes = [first, *others]
    try:
        key = bytes(range(32))
        for node in nodes:
            node.api_port, node.cluster_port = first.api_port, first.cluster_port
            node.lay_out(key)
        first.launch()
        until(lambda: first.is_leader and can_enter(first), "the first node is no leader")
        for node in others:
            node.launch()
        until(lambda: len(voters(first)) == len(nodes), "not all nodes vote")
        yield nodes
    finally:
        for node in nodes:
            node.kill()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def joining_node(vault: RunningVault, seal_key: bytes) -> Iterator[Node]:
    """Yield a node that asks to join a Vault, as whoever reaches it could."""
    folder = Path(tempfile.mkdtemp(prefix="vault-"))
    node = Node(
        vault.tenant, folder, ADDRESSES[1], vault.tenant_ca, vault.platform_ca, vault.server_ca,
        number=9, log=vault.audit_log,
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


def voters(vault: RunningVault) -> set[str]:
    """Return the nodes that vote, as the platform's operator sees them."""
    return {name for name, votes in servers(vault).items() if votes}


def servers(vault: RunningVault) -> dict[str, bool]:
    """Return all nodes, and whether they vote."""
    try:
        session = vault.as_operator()
        found = (session.read("sys/storage/raft/configuration") or {})["config"]["servers"]
        session.end()
    except MutxInfraError:
        return {}
    return {server["node_id"]: bool(server["voter"]) for server in found}


def until(is_so: Callable[[], bool], otherwise: str, within_s: float = WITHIN_S) -> float:
    """Wait until something is so; return how long it took."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < within_s, otherwise
        time.sleep(0.05)
    return time.monotonic() - began
