"""The composed policy on real nodes: what it grants opens, all else is silent, and a change is in force at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest

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

    def all_that_passes(self) -> set[tuple[str, str, int]]:
        asked = [(*pair, port) for pair in permutations(self.nodes, 2) for port in PORTS]
        with ThreadPoolExecutor(24) as pool:
            return {
                each
                for each, passed in zip(asked, pool.map(lambda a: self.passes(*a), asked), strict=True)
                if passed
            }

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

    seen = tailnet.all_that_passes()

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


def test_with_a_policy_that_grants_everything_the_same_ports_answer(tailnet: Tailnet) -> None:
    tailnet.write(EVERYTHING)
    tailnet.until("acme-agent-1", "globex-guard-1", 8443, passes=True)

    assert len(tailnet.all_that_passes()) == len(list(permutations(WHO, 2))) * len(PORTS)


def test_a_deleted_device_is_cut_off_within_two_seconds(tailnet: Tailnet) -> None:
    tailnet.write(WANTED.document())
    tailnet.until("bob", "control-plane", 443, passes=True)
    listed = tailnet.server.ask("GET", "tailnet/-/devices")["devices"]
    device = next(each["nodeId"] for each in listed if each["hostname"] == "bob")

    tailnet.server.ask("DELETE", f"device/{device}")

    assert tailnet.until("bob", "control-plane", 443, passes=False) < IN_FORCE_WITHIN_S
    assert tailnet.passes("alice", "acme-guard-1", 22)
