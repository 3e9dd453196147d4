"""The composed policy on real nodes: what it grants opens, all else is silent, and a change is in force at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from mutx_infra.naming import leave_attribute
from mutx_infra.tailnet.composition import Member, Platform, compose
from mutx_infra.tailnet.evaluation import Evaluator, Identity
from tests.support.machines import Answer, Hosts
from tests.support.tailnet import Coordination, Node, coordination, node, tailnet_programs

SERVER = "10.63.255.251"
ANN, BOB, ALICE = "ann@acme.example", "bob@acme.example", "alice@mutx.dev"
MEMBERS = (Member("acme", (ANN,), (BOB,)), Member("globex"))
WANTED = compose(MEMBERS, Platform((ALICE,))).policy
EVERYTHING = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}
WHO = {
    "control-plane": Identity(tags=("tag:mutx-control-plane",)),
    "acme-agent-1": Identity(tags=("tag:t-acme-agent",)),
    "acme-guard-1": Identity(tags=("tag:t-acme-guard",)),
    "acme-vault-1": Identity(tags=("tag:t-acme-vault",)),
    "globex-guard-1": Identity(tags=("tag:t-globex-guard",)),
    "ann": Identity(user=ANN),
    "bob": Identity(user=BOB),
    "alice": Identity(user=ALICE),
}
PORTS = (22, 443, 8080, 8200, 8443)
TCP = 6
IN_FORCE_WITHIN_S = 2.0
LEAVE_S = 6
HANDSHAKE_S = 8.0
"""WireGuard tries again after five."""
PASSED = {Answer.OPEN, Answer.REFUSED}
"""Nobody listens on the nodes: a refusal is what comes back from behind the filter."""


@dataclass(frozen=True)
class Tailnet:
    """A server and its nodes, by name."""

    server: Coordination
    nodes: dict[str, Node]
    addresses: dict[str, str]

    def passes(self, source: str, destination: str, port: int, patience_s: float = 1.0) -> bool:
        place = self.nodes[source].place
        return place.knock(self.addresses[destination], port, patience_s=patience_s) in PASSED

    def all_that_passes(self, wanted: set[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
        """Knock everywhere; where it is wanted once more, with patience for the handshake of two new neighbours."""
        asked = {(*pair, port) for pair in permutations(self.nodes, 2) for port in PORTS}
        found = self._passing(asked, 1.0)
        return found | self._passing(wanted - found, HANDSHAKE_S)

    def _passing(self, asked: set[tuple[str, str, int]], patience_s: float) -> set[tuple[str, str, int]]:
        with ThreadPoolExecutor(24) as pool:
            passed = pool.map(lambda each: self.passes(*each, patience_s), asked)
            return {each for each, is_open in zip(asked, passed, strict=True) if is_open}

    def write(self, policy: dict[str, Any]) -> None:
        self.server.ask("POST", "tailnet/-/acl", policy)

    def until(self, source: str, destination: str, port: int, *, passes: bool) -> float:
        """Knock until it is as wanted; returns how long that took (s)."""
        begun = time.monotonic()
        while self.passes(source, destination, port, 0.3) is not passes:
            assert time.monotonic() < begun + 10, f"{source} → {destination}:{port} stays as it was"
        return time.monotonic() - begun


@pytest.fixture(scope="module")
def tailnet(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tailnet]:
    programs, folder = tailnet_programs(), tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        (folder / "server").mkdir()
        server = stack.enter_context(coordination(hosts, programs, folder / "server", SERVER))
        nodes = {}
        for number, name in enumerate(WHO):
            (folder / name).mkdir()
            place = (folder / name, f"node-{number}", f"10.63.255.{220 + number}")
            nodes[name] = stack.enter_context(node(hosts, programs, *place))
            who = WHO[name]
            joined = nodes[name].join(server, server.mint(*who.tags, user=who.user), name)
            assert joined.returncode == 0, joined.stderr
        listed = server.ask("GET", "tailnet/-/devices")["devices"]
        addresses = {device["hostname"]: device["addresses"][0] for device in listed}
        made = Tailnet(server, nodes, addresses)
        # The first packet between two nodes waits for their handshake.
        for name in WHO:
            made.until(name, "control-plane" if name != "control-plane" else "ann", 443, passes=True)
        yield made


def test_what_is_granted_passes_and_nothing_else(tailnet: Tailnet) -> None:
    tailnet.write(WANTED.document())
    tailnet.until("ann", "globex-guard-1", 8443, passes=False)
    evaluator = Evaluator(WANTED)
    wanted = {
        (source, destination, port)
        for source, destination in permutations(WHO, 2)
        for port in PORTS
        if evaluator.reach(WHO[source], WHO[destination], TCP, port).is_open
    }

    seen = tailnet.all_that_passes(wanted)

    assert seen == wanted
    assert ("ann", "acme-vault-1", 8200) in seen
    assert ("control-plane", "acme-guard-1", 8443) in seen
    assert not {each for each in seen if each[1] == "acme-agent-1" and each[0] != "alice"}
    assert len(seen) < len(PORTS) * len(WHO)


def test_a_change_is_in_force_within_two_seconds(tailnet: Tailnet) -> None:
    tailnet.write(WANTED.document())
    tailnet.until("ann", "acme-vault-1", 8200, passes=True)
    without = compose((Member("acme", (), (BOB,)), MEMBERS[1]), Platform((ALICE,))).policy

    tailnet.write(without.document())
    lost = tailnet.until("ann", "acme-vault-1", 8200, passes=False)
    tailnet.write(WANTED.document())
    gained = tailnet.until("ann", "acme-vault-1", 8200, passes=True)

    assert max(lost, gained) < IN_FORCE_WITHIN_S


def test_leave_opens_one_tenant_s_hosts_and_ends_by_itself(tailnet: Tailnet) -> None:
    policy = compose(MEMBERS, Platform((ALICE,), by_leave=True)).policy.document()
    # Nodes that see each other: the first handshake of two that do not may take WireGuard's five seconds.
    policy["grants"].append({"src": [ALICE], "dst": ["tag:t-acme-guard"], "ip": ["tcp:443"]})
    tailnet.write(policy)
    tailnet.until("alice", "acme-guard-1", 443, passes=True)
    tailnet.until("alice", "acme-guard-1", 22, passes=False)
    devices = tailnet.server.ask("GET", "tailnet/-/devices")["devices"]
    device = next(each["nodeId"] for each in devices if each["hostname"] == "alice")
    ends = datetime.now(UTC) + timedelta(seconds=LEAVE_S)

    tailnet.server.ask(
        "POST",
        f"device/{device}/attributes/{leave_attribute('acme')}",
        {"value": True, "expiry": ends.isoformat(timespec="seconds").replace("+00:00", "Z")},
    )

    assert tailnet.until("alice", "acme-guard-1", 22, passes=True) < IN_FORCE_WITHIN_S
    assert not tailnet.passes("alice", "globex-guard-1", 22)
    assert not tailnet.passes("alice", "acme-vault-1", 22)
    tailnet.until("alice", "acme-guard-1", 22, passes=False)
    assert datetime.now(UTC) < ends + timedelta(seconds=IN_FORCE_WITHIN_S)


def test_with_a_policy_that_grants_everything_the_same_ports_answer(tailnet: Tailnet) -> None:
    tailnet.write(EVERYTHING)
    tailnet.until("acme-agent-1", "globex-guard-1", 8443, passes=True)

    everything = {(*pair, port) for pair in permutations(WHO, 2) for port in PORTS}
    assert tailnet.all_that_passes(everything) == everything


def test_a_deleted_device_is_cut_off_within_two_seconds(tailnet: Tailnet) -> None:
    tailnet.write(WANTED.document())
    tailnet.until("bob", "control-plane", 443, passes=True)
    listed = tailnet.server.ask("GET", "tailnet/-/devices")["devices"]
    device = next(each["nodeId"] for each in listed if each["hostname"] == "bob")

    tailnet.server.ask("DELETE", f"device/{device}")

    assert tailnet.until("bob", "control-plane", 443, passes=False) < IN_FORCE_WITHIN_S
    assert tailnet.passes("alice", "acme-guard-1", 22)
