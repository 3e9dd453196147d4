"""Machines that restart, lose their power, are brought up again, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mutx_sandbox.machines.groups import group_name

from tests.support.checkout import make_checkout
from tests.support.machines import Hosts, processes_with

SLOW_S = 60


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A sandbox of this module's own, with `trial-1`: its laboratory is killed here."""
    made = Hosts(make_checkout(tmp_path_factory.mktemp("life") / "check out"))
    made.up("1")
    yield made
    made.checkout.run("sandbox", "down")


def host_key(hosts: Hosts) -> str:
    return hosts.answer("trial-1", "cat /etc/ssh/ssh_host_ed25519_key.pub")


def eventually(claim: Callable[[], bool], within_s: float = SLOW_S) -> None:
    deadline = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def traces_of(hosts: Hosts) -> list[str]:
    """What this machine shows of a sandbox's machines, besides files in its state directory."""
    name = group_name(hosts.folder)
    # Groups come and go while they are looked at, which rglob does not bear.
    groups = [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if Path(folder).name == name]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if "check\\040out" in line]
    named = subprocess.run(["/usr/sbin/ip", "netns"], capture_output=True, text=True, check=True).stdout
    links = subprocess.run(["/usr/sbin/ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    wired = [line for line in (named + links).splitlines() if "trial" in line or "tailnet" in line]
    return [*groups, *mounts, *wired, *map(str, processes_with(str(hosts.folder)))]


def test_a_second_up_changes_nothing(own: Hosts) -> None:
    before = own.state("trial-1")

    again = own.up("1")

    assert again["hosts"]["trial-1"]["new"] is False
    assert own.state("trial-1").boots == before.boots == 1


def test_a_restarted_host_is_the_same_and_joins_no_second_time(own: Hosts) -> None:
    key, boots = host_key(own), own.state("trial-1").boots

    own.restart("trial-1", SLOW_S)

    assert own.state("trial-1").boots == boots + 1
    assert host_key(own) == key
    assert "mutx-join@" not in own.answer(
        "trial-1", "systemctl list-units --plain --no-legend 'mutx-join@*'; true"
    )
    assert "100.127.255." in own.answer("trial-1", "ip -brief address show dev tailscale0")


def test_a_restart_that_the_host_asks_for_is_one(own: Hosts) -> None:
    boots = own.state("trial-1").boots

    own.ssh("trial-1", "sudo nft add table inet left_over && sudo systemctl reboot")
    eventually(lambda: own.state("trial-1").boots == boots + 1)
    own.await_login("trial-1", SLOW_S)

    assert "left_over" not in own.answer("trial-1", "sudo nft list tables")


def test_a_host_without_power_is_found_stopped_and_comes_up_as_it_was(own: Hosts) -> None:
    key = host_key(own)
    own.answer("trial-1", "sudo sh -c 'echo kept > /var/tmp/kept; sync'")

    own.checkout.run("sandbox", "hosts", "kill", "trial-1")
    stopped = own.state("trial-1")
    own.up("1")

    assert (stopped.state, stopped.remark) == ("stopped", "its power was cut")
    assert host_key(own) == key
    assert own.answer("trial-1", "cat /var/tmp/kept") == "kept"


@pytest.mark.parametrize("which", ["keeper", "inner"])
def test_a_killed_laboratory_takes_all_along_and_the_next_up_brings_it_back(own: Hosts, which: str) -> None:
    key = host_key(own)
    record = own.machines.record
    assert record is not None

    os.kill(record.keeper.pid if which == "keeper" else record.inner, signal.SIGKILL)

    eventually(lambda: not processes_with(str(own.folder)), 10)
    own.up("1")
    assert host_key(own) == key


def test_down_leaves_nothing(own: Hosts) -> None:
    assert traces_of(own)

    own.checkout.run("sandbox", "hosts", "down")

    assert traces_of(own) == []
    assert not own.folder.exists()
    assert own.checkout.json("sandbox", "hosts", "list")["hosts"] == []


def test_what_a_killed_laboratory_left_is_removed_and_the_next_host_joins_anew(own: Hosts) -> None:
    own.up("1")
    before, record = host_key(own), own.machines.record
    assert record is not None
    os.kill(record.keeper.pid, signal.SIGKILL)

    ended = own.checkout.json("sandbox", "hosts", "down")["ended"]
    own.up("1")

    assert ended == ["trial-1"]
    assert host_key(own) != before


def test_machines_end_with_their_state_directory(own: Hosts) -> None:
    own.up("1")

    own.folder.parent.joinpath("credentials").unlink()

    eventually(lambda: traces_of(own) == [], 15)


@pytest.mark.full
@pytest.mark.timeout(480)
def test_a_machine_with_a_kernel_of_its_own_restarts_too(tmp_path: Path) -> None:
    """The one test on User-Mode Linux: auditd and sysctl work there, and nowhere else."""
    own = Hosts(make_checkout(tmp_path / "own kernel"))
    try:
        own.up("1", "--backend", "uml")
        seen = own.answer("trial-1", "uname -r; sudo auditctl -s; sudo sysctl kernel.kptr_restrict=2")
        own.restart("trial-1", 120)
        again = own.answer("trial-1", "sysctl -n kernel.kptr_restrict; ip -brief -6 address show dev eth0")
    finally:
        own.checkout.run("sandbox", "down")

    assert "enabled 1" in seen
    assert "kernel.kptr_restrict = 2" in seen
    assert not again.startswith("2")
    assert "fd6d:7574:" in again
