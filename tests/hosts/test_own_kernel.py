"""A host with a kernel of its own: what a container cannot show. Audit, kernel parameters, mounts, after a restart.

On the quicker backend that works here; the long tests do it all on an emulated machine, too, whose kernel is Debian's.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.breakage import BREAKAGES
from tests.support.checkout import Checkout, make_checkout
from tests.support.tenants import create

HOST = ("--host", "mgmt-1")
FINE = {"pass", "not-applicable"}
NEEDS_A_KERNEL = {"audit-01", "audit-02", "base-06", "base-07"}
OF_DEBIAN_S_KERNEL = {"aa-02", "aa-03", "aa-05"}


@pytest.fixture(scope="module", params=["own-kernel", pytest.param("qemu", marks=pytest.mark.full)])
def acme(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Checkout]:
    """A tenant whose mgmt host has a kernel of its own, hardened and started anew."""
    made = make_checkout(tmp_path_factory.mktemp("kernel") / "check out")
    made.run("sandbox", "up")
    made.write_spec("acme")
    create(made, "acme")
    made.run("sandbox", "hosts", "up", "--tenant", "acme", *HOST, "--backend", request.param, limit_s=600)
    made.run("hosts", "harden", "acme", *HOST, limit_s=800)
    before = on(made, "cat /proc/sys/kernel/random/boot_id")
    # Not `sandbox hosts reboot`: that presses Ctrl-Alt-Del, which a hardened host does not hear.
    on(made, "sudo systemctl reboot", expect=None)
    deadline = time.monotonic() + 240
    while on(made, "cat /proc/sys/kernel/random/boot_id", expect=None).strip() in {"", before.strip()}:
        assert time.monotonic() < deadline, "the host did not come back"
        time.sleep(1)
    yield made
    made.run("sandbox", "down")


def on(checkout: Checkout, script: str, expect: int | None = 0) -> str:
    return checkout.run("sandbox", "hosts", "ssh", "acme-mgmt-1", "--", script, expect=expect).stdout


@pytest.fixture(scope="module")
def seen(acme: Checkout) -> Any:
    """Every control, looked at after the restart."""
    return acme.json("hosts", "check", "acme", *HOST)


def test_every_control_is_met_those_of_the_kernel_too(acme: Checkout, seen: Any) -> None:
    verdicts = {check["control"]: check["verdict"] for check in seen["checks"]}
    (machine,) = acme.json("sandbox", "hosts", "list")["hosts"]
    met = NEEDS_A_KERNEL | (OF_DEBIAN_S_KERNEL if machine["machine"]["backend"] == "qemu" else set())

    assert {control: verdicts[control] for control in met} == dict.fromkeys(met, "pass")
    assert set(verdicts.values()) <= FINE


def test_a_second_run_changes_nothing_though_the_rules_are_locked(acme: Checkout, seen: Any) -> None:
    again = acme.json("hosts", "harden", "acme", *HOST)

    assert [host["changes"] for host in again["hosts"]] == [[]]


RECORDED = {
    "sudo": ("sudo true", "-k privilege", "/usr/bin/sudo"),
    "what root runs for a user": ("sudo touch /var/tmp/probe", "-k root-exec -c touch", "auid=mutx"),
    "sudoers": ("sudo touch /etc/sudoers.d/00-mutx-defaults", "-k sudoers", "/etc/sudoers.d"),
    "identity": ("sudo touch /etc/group", "-k identity", "/etc/group"),
    "time": ('sudo date -s "$(date -u +%FT%TZ)" >/dev/null', "-k time", "clock_settime"),
    "logins": ("true", "-m USER_LOGIN,USER_START", "mutx"),
    "kernel modules": ("sudo modprobe -r no-such-module; true", "-k modules", "modprobe"),
}


def test_what_an_operator_does_is_recorded(acme: Checkout, seen: Any) -> None:
    """One login does it all, a second one asks for it: a login takes seconds on this kernel."""
    on(acme, "; ".join(script for script, _, _ in RECORDED.values()))
    asked = "; ".join(
        f"echo '== {name}'; sudo ausearch --input-logs -i --start recent {query} 2>&1 | tail -60"
        for name, (_, query, _) in RECORDED.items()
    )

    said = on(acme, asked, expect=None)

    answers = dict(part.partition("\n")[::2] for part in said.split("== ")[1:])
    assert [name for name, (_, _, wanted) in RECORDED.items() if wanted not in answers[name]] == []


@pytest.mark.full
def test_what_is_the_kernel_s_is_seen_broken_and_mended(acme: Checkout, seen: Any) -> None:
    broken = {name: breakage for name, breakage in BREAKAGES.items() if breakage.own_kernel}
    script = " && ".join(breakage.script for breakage in broken.values())
    on(acme, f"sudo sh -c {shlex.quote(script)}")

    after = acme.json("hosts", "check", "acme", *HOST, expect=6)
    acme.run("hosts", "harden", "acme", *HOST, limit_s=800)
    on(acme, "sudo /usr/libexec/mutx/mutx-aide acknowledge")
    mended = acme.json("hosts", "check", "acme", *HOST)

    failed = {check["control"] for check in after["checks"] if check["verdict"] not in FINE}
    assert failed == set(broken)
    assert {check["verdict"] for check in mended["checks"]} <= FINE


FILLED = """
mount -t tmpfs -o size=1m tmpfs /var/log/audit
systemctl kill --signal=USR1 --kill-who=main auditd
sleep 2
cat /dev/zero > /var/log/audit/filler 2>/dev/null
for n in 1 2 3 4 5; do sudo true; done
sleep 2
journalctl -b -t auditd --no-pager | tail -20
"""
EMPTIED = """
rm /var/log/audit/filler
umount --lazy /var/log/audit
systemctl kill --signal=USR1 --kill-who=main auditd
systemctl kill --signal=USR2 --kill-who=main auditd
systemctl is-active auditd
"""


def test_where_the_disk_is_full_auditd_suspends_itself_and_says_so(acme: Checkout, seen: Any) -> None:
    said = on(acme, f"sudo sh -c {shlex.quote(FILLED)}")

    after = on(acme, f"sudo sh -c {shlex.quote(EMPTIED)}")

    assert "suspending logging" in said
    assert after.strip() == "active"


def test_the_rules_cannot_be_taken_away_before_a_restart(acme: Checkout, seen: Any) -> None:
    before = on(acme, "sudo auditctl -l")

    on(acme, "sudo auditctl -D", expect=None)
    on(acme, "sudo auditctl -e 0", expect=None)

    assert on(acme, "sudo auditctl -l") == before
    assert "enabled 2" in on(acme, "sudo auditctl -s")
