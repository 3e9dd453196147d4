"""A host with a kernel of its own: what a container cannot show. Audit, kernel parameters, mounts, after a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.checkout import Checkout, make_checkout
from tests.support.tenants import create

HOST = ("--host", "mgmt-1")
NEEDS_A_KERNEL = {"audit-01", "audit-02", "base-06", "base-07"}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A tenant whose mgmt host runs on User-Mode Linux, hardened and started anew."""
    made = make_checkout(tmp_path_factory.mktemp("kernel") / "check out")
    made.run("sandbox", "up")
    made.write_spec("acme")
    create(made, "acme")
    made.run("sandbox", "hosts", "up", "--tenant", "acme", *HOST, "--backend", "uml")
    made.run("hosts", "harden", "acme", *HOST)
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


def test_every_control_is_met_those_of_the_kernel_too(seen: Any) -> None:
    verdicts = {check["control"]: check["verdict"] for check in seen["checks"]}

    assert {control: verdicts[control] for control in NEEDS_A_KERNEL} == dict.fromkeys(NEEDS_A_KERNEL, "pass")
    assert set(verdicts.values()) <= {"pass", "not-applicable"}


def test_a_second_run_changes_nothing_though_the_rules_are_locked(acme: Checkout, seen: Any) -> None:
    again = acme.json("hosts", "harden", "acme", *HOST)

    assert [host["changes"] for host in again["hosts"]] == [[]]


def test_what_root_runs_for_a_user_is_recorded_and_so_are_changes_of_identity(
    acme: Checkout, seen: Any
) -> None:
    on(acme, "sudo /usr/bin/touch /etc/group")

    executed = on(acme, "sudo ausearch --input-logs -i -k root-exec -c touch | tail -40")
    changed = on(acme, "sudo ausearch --input-logs -i -k identity | tail -40")

    assert "/etc/group" in executed
    assert "auid=mutx" in executed
    assert "/etc/group" in changed


def test_the_rules_cannot_be_taken_away_before_a_restart(acme: Checkout, seen: Any) -> None:
    before = on(acme, "sudo auditctl -l")

    on(acme, "sudo auditctl -D", expect=None)
    on(acme, "sudo auditctl -e 0", expect=None)

    assert on(acme, "sudo auditctl -l") == before
    assert "enabled 2" in on(acme, "sudo auditctl -s")
