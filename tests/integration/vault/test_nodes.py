"""Three nodes of one Vault, each with an address and an authority of its own: the death of a leader loses nothing."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from mutx_infra.adapters.hvac_vault import HvacSession, HvacVault
from mutx_infra.adapters.vault_templates import policy_texts, render_server
from mutx_infra.byok import StaticSeal
from mutx_infra.errors import MutxInfraError
from mutx_infra.flows import Role
from mutx_infra.vault.hosts import VaultHost, VaultTerms, server_plan
from mutx_infra.vault.layout import TENANT_ADMIN, make_layout
from mutx_infra.vault.server import LOOPBACK, STATIC_KEY_BYTES, ServerPaths
from mutx_infra.vault_ports import VaultAddress
from tests.support.authorities import Authority, make_authority
from tests.support.vault import free_port, leads, started_server
from tests.support.vault_nodes import Writer
from tests.support.waiting import until

pytestmark = pytest.mark.story

TENANT, PLATFORM = make_authority("acme administrators"), make_authority("mutx platform")
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@dataclass
class Node:
    """One server, in a folder as the role `vault` lays it out."""

    folder: Path
    host: VaultHost
    authority: Authority
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    def start(self) -> None:
        self.process = started_server(self.folder, group=0)

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        if self.process is None:
            return
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=30)
        self.process = None

    @property
    def vault(self) -> HvacVault:
        return HvacVault(
            VaultAddress(f"https://{self.host.address}:{self.port}", self.authority.pem), timeout_s=3
        )


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Node]]:
    with tempfile.TemporaryDirectory(prefix="nodes-") as name:
        made = prepared(Path(name))
        for node in made:
            node.start()
        try:
            await_leader(made, 60)
            yield made
        finally:
            for node in made:
                node.kill()  # a node that has lost its majority does not end when it is asked to


def prepared(folder: Path) -> list[Node]:
    hosts = [
        VaultHost(f"acme-vault-{n}", f"vault-{n}", Role.VAULT, IPv4Address(address))
        for n, address in enumerate(ADDRESSES, 1)
    ]
    port, cluster_port, key = free_port(), free_port(), secrets.token_bytes(STATIC_KEY_BYTES)
    nodes = [
        Node(folder / host.key, host, make_authority(f"{host.name} authority"), port=port) for host in hosts
    ]
    everybody = "".join(node.authority.pem for node in nodes)
    layout = make_layout("acme", policy_texts(), TENANT.pem, PLATFORM.pem, LOOPBACK)
    terms = VaultTerms(layout, StaticSeal(type="static"))
    for node in nodes:
        for place in (node.folder, node.folder / "storage", node.folder / "audit"):
            place.mkdir()
        shown = node.authority.server(node.folder, node.host.name, str(node.host.address))
        (node.folder / "ca.crt").write_text(everybody)
        (node.folder / "seal.key").write_bytes(key)
        plan = server_plan(node.host, hosts, terms)
        assert plan is not None
        paths = ServerPaths(
            certificate=str(shown.certificate),
            key=str(shown.key),
            authorities=f"{node.folder}/ca.crt",
            storage=f"{node.folder}/storage",
            seal_key=f"{node.folder}/seal.key",
            audit_log="audit/audit.log",  # the same on all nodes, or those that join refuse
        )
        own = replace(
            plan, paths=paths, listen=str(node.host.address), api_port=port, cluster_port=cluster_port
        )
        (node.folder / "server.hcl").write_text(render_server(own))
    return nodes


def await_leader(nodes: list[Node], within_s: float) -> Node:
    deadline = time.monotonic() + within_s
    while True:
        for node in nodes:
            if node.process is not None and leads(node.vault):
                return node
        assert time.monotonic() < deadline, "no node leads"
        time.sleep(0.1)


def admin(node: Node) -> HvacSession:
    return node.vault.login(TENANT.client(node.folder, "ann"), TENANT_ADMIN)


def await_voters(nodes: list[Node], wanted: int, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while True:
        session = admin(await_leader(nodes, within_s))
        servers = (session.read("sys/storage/raft/configuration") or {})["config"]["servers"]
        if sum(bool(server["voter"]) for server in servers) == wanted:
            return
        assert time.monotonic() < deadline, servers
        time.sleep(0.5)


def test_two_nodes_join_the_one_that_made_the_vault(nodes: list[Node]) -> None:
    await_voters(nodes, 3, 60)

    assert [node.vault.health().is_sealed for node in nodes] == [False, False, False]


def test_a_leader_s_death_loses_no_answered_write(nodes: list[Node]) -> None:
    leader = await_leader(nodes, 30)
    others = [node for node in nodes if node is not leader]
    written = Writer(*(partial(admin, node) for node in (leader, *others)))
    written.run_until(12)

    leader.kill()
    begun = time.monotonic()
    after = await_leader(others, 60)
    took, before = time.monotonic() - begun, len(written.done)
    until(lambda: len(written.done) > before + 5, "no more writes")
    written.stop()

    assert took < 30
    assert written.missing(admin(after)) == []
    leader.start()
    await_voters(nodes, 3, 60)
    until(lambda: _holds_all(leader, written), "the one that was killed does not catch up")


def _holds_all(node: Node, written: Writer) -> bool:
    try:
        return written.missing(admin(node)) == []
    except MutxInfraError:
        return False
