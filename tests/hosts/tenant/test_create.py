"""`tenant create` to its very end, killed on the way: machines start with the stack, join, and are hardened."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.checkout import Checkout
from tests.support.onboarded import NAMES, TENANT, Onboarded

GONE = f"{TENANT}-agent-1"


def test_a_create_that_is_killed_among_its_hosts_is_finished_by_resume(tenant: Onboarded) -> None:
    assert tenant.is_quiet
    assert tenant.resumed["state"] == "ready"
    hosts = tenant.resumed["hosts"]["hosts"]
    assert sorted(host["host"] for host in hosts) == [*NAMES]
    assert {host["state"] for host in hosts} == {"done"}
    assert all(host["changes"] for host in hosts)
    assert tenant.history[0] == "create"
    assert tenant.history[-1] == "harden"


def test_nothing_of_a_run_is_left_but_what_it_printed(tenant: Onboarded) -> None:
    printed = Path(tenant.resumed["hosts"]["artifacts"])

    assert not list(tenant.place.glob("run-*"))
    assert printed.is_file()
    assert printed.stat().st_mode & 0o077 == 0


def test_a_create_of_what_stands_changes_nothing_and_names_a_host_that_is_gone_which_is_made_up_for(
    checkout: Checkout, tenant: Onboarded
) -> None:
    checkout.run("sandbox", "hosts", "kill", GONE)

    lost = checkout.run("tenant", "create", TENANT, "--json", expect=5)
    checkout.run("sandbox", "hosts", "up", "--tenant", TENANT, "--host", "agent-1")
    found = checkout.json("hosts", "harden", TENANT, "--failed")

    assert "error[hosts-failed]" in lost.stderr
    assert f"{GONE} did not answer" in lost.stderr
    assert f"hosts harden {TENANT} --failed" in lost.stderr
    again = json.loads(lost.stdout)
    assert again["state"] == "ready"
    assert again["changes"]["resources"] == []
    seen = {host["host"]: (host["state"], host["changes"]) for host in again["hosts"]["hosts"]}
    assert seen == {**dict.fromkeys(NAMES, ("done", [])), GONE: ("unreachable", [])}
    assert [(host["host"], host["state"], host["changes"]) for host in found["hosts"]] == [(GONE, "done", [])]


def test_hosts_may_be_left_for_later(checkout: Checkout, tenant: Onboarded) -> None:
    assert checkout.json("tenant", "create", TENANT, "--no-hosts")["hosts"] is None


def test_a_profile_that_does_not_reach_hosts_says_so(checkout: Checkout, tenant: Onboarded) -> None:
    profile = checkout.profile("blind", hosts=None)

    done = checkout.run("tenant", "create", TENANT, "-e", profile)

    assert "the profile sandbox does not say how to reach them" in done.stderr
