"""Integrity (HOST-4, PRIN-2): asked of AIDE's configuration, database and findings; nothing is compared anew here."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

WATCHED = {"/boot", "/etc", "/usr"}
DATABASE = "/var/lib/aide/aide.db"
STATE = "/var/lib/mutx/aide"
LONGEST_WAIT_S = 240
"""A converge leaves while its changes are still being accepted."""


@pytest.fixture(scope="module")
def settled(host: Host) -> bool:
    """True once no change in order is being accepted."""
    deadline = time.monotonic() + LONGEST_WAIT_S
    while host.run(f"test -e {STATE}/changing").rc == 0:
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


@pytest.mark.control("aide-01")
def test_programs_and_configuration_are_watched(host: Host, observe: Look) -> None:
    lines = host.check_output("cat /etc/aide/aide.conf").splitlines()
    watched = {line.split()[0] for line in lines if line.startswith("/")}
    valid = host.run("aide --config=/etc/aide/aide.conf --config-check").rc == 0

    seen = {"valid": valid, "watched": sorted(watched)}
    observe(seen, wanted=f"valid, at least {sorted(WATCHED)}", is_met=valid and watched >= WATCHED)


@pytest.mark.control("aide-02")
def test_there_is_a_whole_database(host: Host, settled: bool, observe: Look) -> None:
    last = host.run(f"tail -n 1 {DATABASE}").stdout.strip()
    digest = host.run(f"sha256sum {DATABASE}").stdout.split(" ")[0]
    loose = host.run(f"find {DATABASE} -perm /o=rwx").stdout.strip()

    seen = {"end": last, "changes accepted": settled, "sha256": digest, "open to others": loose}
    observe(
        seen,
        wanted="a database with an end, of all changes in order",
        is_met=last == "@@end_db" and settled and not loose,
    )


@pytest.mark.control("aide-03")
def test_the_host_is_compared_each_day(host: Host, unit: Callable[[str], Unit], observe: Look) -> None:
    runs = unit("aidecheck.timer").runs_from_boot
    failed = host.run("systemctl show -P Result aidecheck.service").stdout.strip()

    # 1 is what a check with findings leaves with: aide-04 names them.
    status = host.run("systemctl show -P ExecMainStatus aidecheck.service").stdout.strip()
    seen = {"runs from boot": runs, "last": failed, "status": status}
    observe(seen, wanted="a timer that runs, and a check that can", is_met=runs and status in {"0", "1"})


@pytest.mark.control("aide-04")
def test_nothing_was_changed_but_in_order(host: Host, settled: bool, observe: Look) -> None:
    listed = host.run(f"grep -hoE '^[fdlpsbcD|?!][^:]*: /.*' -r {STATE}/findings").stdout.splitlines()
    changed = sorted({line.partition(": ")[2].strip() for line in listed})

    observe(changed[:20], wanted=[])
