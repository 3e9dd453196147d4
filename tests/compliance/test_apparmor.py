"""AppArmor (HOST-4): asked of the kernel, which alone knows what it confines."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

KERNEL = "/sys/module/apparmor/parameters/enabled"
PROFILES = "/sys/kernel/security/apparmor/profiles"
NONE = "this kernel has no AppArmor, or it is the kernel of the container's host"


@pytest.fixture(scope="module")
def profiles(host: Host, has_own_kernel: bool) -> dict[str, str] | None:
    """The mode of each loaded profile by its name; None where the kernel confines nothing for this host."""
    if not has_own_kernel or host.run(f"cat {KERNEL}").stdout.strip() != "Y":
        return None
    loaded = host.check_output(f"cat {PROFILES}")
    return dict(re.findall(r"^(.+) \((\w+)\)$", loaded, re.MULTILINE))


@pytest.mark.control("aa-01")
def test_it_is_installed(host: Host, observe: Look) -> None:
    names = ("apparmor", "apparmor-utils")
    seen = {name: host.run(f"dpkg-query -W -f '${{db:Status-Status}}' {name}").stdout for name in names}

    observe(seen, wanted=dict.fromkeys(names, "installed"))


@pytest.mark.control("aa-02")
def test_it_starts_at_boot(unit: Callable[[str], Unit], observe: Look) -> None:
    observe(unit("apparmor.service").enabled, wanted="enabled")


@pytest.mark.control("aa-03")
def test_every_loaded_profile_enforces(profiles: dict[str, str] | None, observe: Look) -> None:
    if profiles is None:
        observe.not_applicable(NONE)
    lenient = sorted(name for name, mode in profiles.items() if mode == "complain")

    observe({"loaded": len(profiles), "complaining": lenient}, wanted="some, none of which only complains",
            is_met=bool(profiles) and not lenient)  # fmt: skip


@pytest.mark.control("aa-05")
def test_no_program_runs_without_its_profile(
    host: Host, profiles: dict[str, str] | None, observe: Look
) -> None:
    if profiles is None:
        observe.not_applicable(NONE)
    script = 'for p in /proc/[0-9]*; do echo "$(cat $p/attr/current 2>/dev/null) $(readlink $p/exe)"; done'
    running = [line.partition(" ")[::2] for line in host.check_output(script).splitlines()]

    observe(sorted({exe for mode, exe in running if mode == "unconfined" and exe in profiles}), wanted=[])
