"""`tenant create` to its very end: machines start with the stack, join, are hardened, and end with the tenant."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from mutx_infra.adapters.supervised import is_at_work
from tests.support.checkout import Checkout, make_checkout
from tests.support.machines import Hosts

NAMES = ["acme-agent-1", "acme-database-1", "acme-guard-1", "acme-mgmt-1", "acme-vault-1"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    made = make_checkout(tmp_path_factory.mktemp("onboarding") / "check out")
    made.write_spec("acme")
    made.run("sandbox", "up", "--hosts")
    yield made
    made.run("sandbox", "down")


def test_a_create_that_is_killed_among_its_hosts_is_finished_by_resume(checkout: Checkout) -> None:
    running = checkout.start("tenant", "create", "acme")
    place = checkout.root / ".mutx/hosts/sandbox/acme"
    deadline = time.monotonic() + 120
    while not list(place.glob("run-*/artifacts/run/job_events/*")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    running.kill()
    running.wait()

    resumed = checkout.json("tenant", "resume", "acme")

    assert not is_at_work(str(place))
    assert resumed["state"] == "ready"
    assert sorted(host["host"] for host in resumed["hosts"]["hosts"]) == NAMES
    assert {host["state"] for host in resumed["hosts"]["hosts"]} == {"done"}
    kinds = [entry["kind"] for entry in checkout.json("history", "list", "acme")["entries"]]
    assert kinds[0] == "create"
    assert kinds[-1] == "harden"


def test_a_create_of_what_stands_changes_neither_cloud_nor_hosts(checkout: Checkout) -> None:
    again = checkout.json("tenant", "create", "acme")

    assert again["changes"]["resources"] == []
    assert [host["changes"] for host in again["hosts"]["hosts"]] == [[]] * len(NAMES)


def test_hosts_may_be_left_for_later(checkout: Checkout) -> None:
    assert checkout.json("tenant", "create", "acme", "--no-hosts")["hosts"] is None


def test_a_host_that_is_gone_fails_the_create_and_the_stack_is_shown_all_the_same(checkout: Checkout) -> None:
    checkout.run("sandbox", "hosts", "kill", "acme-vault-1")

    done = checkout.run("tenant", "create", "acme", "--json", expect=5)

    assert "error[hosts-failed]" in done.stderr
    assert "hosts harden acme --failed" in done.stderr
    shown = json.loads(done.stdout)
    assert shown["state"] == "ready"
    states = {host["host"]: host["state"] for host in shown["hosts"]["hosts"]}
    assert states == {name: "unreachable" if name == "acme-vault-1" else "done" for name in NAMES}


def test_a_profile_that_does_not_reach_hosts_says_so(checkout: Checkout) -> None:
    profile = checkout.profile("blind", hosts=None)

    done = checkout.run("tenant", "create", "acme", "-e", profile)

    assert "the profile sandbox does not say how to reach them" in done.stderr


def test_the_machines_end_with_the_tenant(checkout: Checkout) -> None:
    checkout.run("tenant", "destroy", "acme", "--yes")
    deadline = time.monotonic() + 20
    while Hosts(checkout).machines.states() and time.monotonic() < deadline:
        time.sleep(0.2)

    assert [state.machine.name for state in Hosts(checkout).machines.states()] == []
