"""auditd (HOST-3): asked of the kernel, whose rules are what records."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

KEYS = {"identity", "logins", "privilege", "root-exec", "sshd", "sudoers", "time"}
CONTAINER = "the kernel's audit belongs to the container's host"


@pytest.mark.control("audit-01")
def test_it_runs_from_boot_and_the_kernel_records(
    host: Host, unit: Callable[[str], Unit], has_own_kernel: bool, observe: Look
) -> None:
    if not has_own_kernel:
        observe.not_applicable(CONTAINER)
    status = dict(line.split()[:2] for line in host.check_output("auditctl -s").splitlines() if " " in line)
    runs = unit("auditd.service").runs_from_boot

    seen = {"runs from boot": runs, "enabled": status.get("enabled", "unknown")}
    observe(seen, wanted="running from boot, enabled 1 or 2", is_met=runs and seen["enabled"] in {"1", "2"})


@pytest.mark.control("audit-02")
def test_rules_by_purpose_are_loaded_and_locked(host: Host, has_own_kernel: bool, observe: Look) -> None:
    if not has_own_kernel:
        observe.not_applicable(CONTAINER)
    rules = host.check_output("auditctl -l")
    missing = sorted(key for key in KEYS if f"key={key}" not in rules and f"-k {key}" not in rules)
    locked = "enabled 2" in host.check_output("auditctl -s")

    observe({"missing": missing, "locked": locked}, wanted={"missing": [], "locked": True})
