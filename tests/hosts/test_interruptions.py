"""What goes wrong in the middle: killed runs, hosts that restart, locks that others hold, disks that are full."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.support.checkout import make_checkout
from tests.support.machines import SSH, Hosts
from tests.support.playbook import Playbook, new_logins

TASKS = range(1, 36)
"""What a first run goes through on a host: results, skipped tasks left out."""
DROP_INS = "/etc/ssh/sshd_config.d"
FILL = (
    f"cp -a {DROP_INS} /root/kept && mount -t tmpfs -o size=64k,mode=755 tmpfs {DROP_INS} "
    f"&& cp -a /root/kept/. {DROP_INS} && (cat /dev/zero > {DROP_INS}/filler 2>/dev/null || true)"
)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Hosts that nobody has hardened."""
    made = Hosts(make_checkout(tmp_path_factory.mktemp("interruptions") / "check out"))
    made.up("3")
    yield made
    made.checkout.run("sandbox", "down")


@pytest.fixture
def fresh(hosts: Hosts) -> Iterator[str]:
    """The name of a host as the image made it."""
    hosts.up("3")
    yield "trial-1"
    hosts.checkout.run("sandbox", "hosts", "down", "trial-1")


def killed_and_finished(hosts: Hosts, name: str, folder: Path, task: int) -> None:
    playbook = Playbook(hosts, (name,), folder)
    session = subprocess.Popen(
        [SSH, "-F", str(hosts.files() / "ssh_config"), name, "cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    with new_logins(hosts, name) as logins:
        was_running = playbook.run_until(task)
        begun = time.monotonic()
        hosts.await_login(name, 3)
        after_s = time.monotonic() - begun
    finished = playbook.run()
    again = playbook.run()

    assert was_running, f"the run was over before task {task}"
    assert session.communicate("still here", timeout=20)[0] == "still here"
    assert after_s < 3
    assert logins.failed == 0, f"task {task}: {logins}"
    assert finished.status == 0, f"task {task}: {finished.text}"
    assert again.changed() == {name: 0}, f"task {task}: {again.text}"


def test_a_run_that_is_killed_at_some_task_locks_nobody_out_and_the_next_one_finishes(
    hosts: Hosts, fresh: str, tmp_path: Path
) -> None:
    killed_and_finished(hosts, fresh, tmp_path, random.choice(TASKS))


@pytest.mark.full
@pytest.mark.parametrize("task", TASKS)
def test_a_run_that_is_killed_at_each_task(hosts: Hosts, fresh: str, tmp_path: Path, task: int) -> None:
    killed_and_finished(hosts, fresh, tmp_path, task)


def test_without_sudo_the_host_is_named_and_nothing_is_done(hosts: Hosts, tmp_path: Path) -> None:
    back = "until [ -e /tmp/back ]; do sleep 0.1; done; mv /root/10-mutx /etc/sudoers.d/"
    hosts.answer(
        "trial-2",
        f"sudo systemd-run -q --unit sudo-comes-back sh -c '{back}'; sudo mv /etc/sudoers.d/10-mutx /root/",
    )

    refused = Playbook(hosts, ("trial-2",), tmp_path).run()

    hosts.answer("trial-2", "touch /tmp/back; until sudo -n rm -f /tmp/back; do sleep 0.1; done 2>/dev/null")
    assert refused.stats["trial-2"]["failures"] + refused.stats["trial-2"]["unreachable"] == 1
    assert refused.stats["trial-2"]["changed"] == 0
    assert "sudo" in refused.text


def test_on_a_full_disk_nothing_lands_by_halves(hosts: Hosts, tmp_path: Path) -> None:
    """The next test finishes what could not be done here."""
    hosts.answer("trial-2", f"sudo sh -c '{FILL}'")
    before = hosts.answer("trial-2", f"sudo sh -c 'ls {DROP_INS}; cat {DROP_INS}/*.conf'")

    full = Playbook(hosts, ("trial-2",), tmp_path).run()

    assert full.stats["trial-2"]["failures"] == 1
    assert f"[file-write] {DROP_INS}/00-mutx.conf: No space left on device" in full.said()
    assert hosts.answer("trial-2", f"sudo sh -c 'ls {DROP_INS}; cat {DROP_INS}/*.conf'") == before
    hosts.await_login("trial-2", 3)
    hosts.answer("trial-2", f"sudo rm {DROP_INS}/filler")


def test_a_host_that_restarts_in_the_middle_is_named_and_made_up_for(hosts: Hosts, tmp_path: Path) -> None:
    playbook = Playbook(hosts, ("trial-2", "trial-3"), tmp_path)
    events = tmp_path / "events.jsonl"
    events.write_text("")

    def restart() -> None:
        while sum('"trial-2"' in line for line in events.read_text().splitlines()) < 12:
            time.sleep(0.02)
        hosts.checkout.run("sandbox", "hosts", "kill", "trial-2")

    restarting = Thread(target=restart)
    restarting.start()
    first = playbook.run()
    restarting.join()
    hosts.checkout.run("sandbox", "hosts", "reboot", "trial-2")
    hosts.await_login("trial-2", 30)
    second = playbook.run()

    assert first.stats["trial-2"]["unreachable"] == 1, first.text
    assert first.stats["trial-3"]["failures"] == first.stats["trial-3"]["unreachable"] == 0
    assert second.status == 0, second.text
    assert second.changed()["trial-2"] > 0
    assert second.changed()["trial-3"] == 0


def test_a_package_that_another_process_holds_up_is_named(hosts: Hosts, tmp_path: Path) -> None:
    hosts.answer("trial-2", "sudo dpkg --remove --force-depends libpam-pwquality")
    hosts.answer(
        "trial-2",
        "sudo systemd-run -q --unit holds-dpkg python3 -c 'import fcntl, time; "
        'fcntl.lockf(open("/var/lib/dpkg/lock-frontend", "w"), fcntl.LOCK_EX); time.sleep(600)\'',
    )
    playbook = Playbook(hosts, ("trial-2", "trial-3"), tmp_path)

    try:
        held = playbook.run(host_apt_lock_timeout_s=2)
    finally:
        hosts.answer("trial-2", "sudo systemctl stop holds-dpkg")

    assert held.stats["trial-2"]["failures"] == 1
    assert held.stats["trial-3"]["failures"] == 0
    assert "lock" in held.said()
    hosts.await_login("trial-2", 3)


def test_another_host_key_is_refused(hosts: Hosts, tmp_path: Path) -> None:
    kept = (hosts.files() / "known_hosts").read_text("utf-8")
    other = tmp_path / "known_hosts"
    other.write_text(kept.replace("trial-2 ", "swapped ").replace("trial-3 ", "trial-2 "), "utf-8")

    refused = Playbook(hosts, ("trial-2",), tmp_path).run(
        ansible_ssh_extra_args=f"-o 'UserKnownHostsFile={other}'"
    )

    assert refused.stats["trial-2"]["unreachable"] == 1
    assert "Host key verification failed" in refused.text
