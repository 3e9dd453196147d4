"""What every host has (HOST-4): packages, updates, clock, kernel parameters, scratch directories, accounts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

NEEDED = {"chrony", "sudo", "unattended-upgrades"}
UNWANTED = {
    "telnet",
    "telnetd",
    "rsh-client",
    "rsh-server",
    "talk",
    "nis",
    "xinetd",
    "avahi-daemon",
    "cups",
    "vsftpd",
}
HTTPS_MIRRORS = ("deb.debian.org", "security.debian.org", "cdn-aws.deb.debian.org")
MASKED = ("ctrl-alt-del.target", "rpcbind.service", "rpcbind.socket")
KERNEL = {
    "fs.protected_hardlinks": "1",
    "fs.protected_symlinks": "1",
    "fs.suid_dumpable": "0",
    "kernel.dmesg_restrict": "1",
    "kernel.kptr_restrict": "2",
    "kernel.randomize_va_space": "2",
    "kernel.unprivileged_bpf_disabled": "1",
    "kernel.yama.ptrace_scope": "2",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.all.accept_source_route": "0",
    "net.ipv4.conf.all.log_martians": "1",
    "net.ipv4.conf.all.rp_filter": "1",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv6.conf.all.accept_redirects": "0",
}
MOUNTS = {
    "/tmp": {"nosuid", "nodev"},  # noqa: S108 - the directory itself is looked at
    "/var/tmp": {"nosuid", "nodev", "noexec"},  # noqa: S108
    "/dev/shm": {"nosuid", "nodev", "noexec"},  # noqa: S108
}
CONTAINER = "mounts and kernel belong to the container's host"


@pytest.fixture(scope="module")
def installed(host: Host) -> set[str]:
    """The names of all installed packages."""
    listed = host.check_output("dpkg-query -W -f '${db:Status-Status} ${Package}\\n'")
    return {line.split()[1] for line in listed.splitlines() if line.startswith("installed ")}


@pytest.mark.control("base-01")
def test_what_every_host_needs_is_installed(installed: set[str], observe: Look) -> None:
    observe(sorted(NEEDED - installed), wanted=[])


@pytest.mark.control("base-02")
def test_what_no_host_needs_is_not_installed(installed: set[str], observe: Look) -> None:
    observe(sorted(UNWANTED & installed), wanted=[])


@pytest.mark.control("base-03")
def test_units_that_nobody_may_start_are_masked(unit: Callable[[str], Unit], observe: Look) -> None:
    states = {name: unit(name).enabled for name in MASKED}

    is_met = all(state in {"masked", "not-found", "unknown"} for state in states.values())
    observe(states, wanted="masked", is_met=is_met and states["ctrl-alt-del.target"] == "masked")


@pytest.mark.control("base-04")
def test_updates_journal_and_accounts_are_configured(host: Host, observe: Look) -> None:
    apt = host.check_output("apt-config dump APT::Periodic::Unattended-Upgrade").strip()
    login = host.check_output("grep -E '^(UMASK|PASS_MAX_DAYS)[[:space:]]' /etc/login.defs").split()
    loose = host.check_output(
        "find /etc/shadow /etc/gshadow /etc/crontab /root -maxdepth 0 -perm /o=rwx -printf '%p '"
    ).split()
    seen = {
        "unattended": '"1"' in apt,
        "umask": login[login.index("UMASK") + 1] if "UMASK" in login else "none",
        "password days": login[login.index("PASS_MAX_DAYS") + 1] if "PASS_MAX_DAYS" in login else "none",
        "persistent journal": host.run("test -d /var/log/journal").rc == 0,
        "open to others": loose,
    }

    observe(
        seen,
        wanted={
            "unattended": True, "umask": "027", "password days": "365", "persistent journal": True,
            "open to others": [],
        },
    )  # fmt: skip


@pytest.mark.control("base-10")
def test_packages_come_by_https(host: Host, variables: dict[str, Any], observe: Look) -> None:
    plain = f"grep -rhoE '^[^#]*http://({'|'.join(HTTPS_MIRRORS)})' /etc/apt"
    seen = {
        "proxy": re.findall(r'"(.*)"', host.check_output("apt-config dump Acquire::https::Proxy")),
        "by plain HTTP": sorted(set(host.run(plain).stdout.split("\n")) - {""}),
    }
    proxy = str(variables.get("base_apt_proxy", ""))

    observe(seen, wanted={"proxy": [proxy] if proxy else [], "by plain HTTP": []})


@pytest.mark.control("base-05")
def test_clock_and_security_updates_run(
    unit: Callable[[str], Unit], has_own_kernel: bool, observe: Look
) -> None:
    seen = {"unattended-upgrades": unit("unattended-upgrades.service").runs_from_boot}
    if has_own_kernel:  # a container's clock is its host's
        seen["chrony"] = unit("chrony.service").runs_from_boot

    observe(seen, wanted=dict.fromkeys(seen, True))


@pytest.mark.control("base-06")
def test_the_kernel_is_hardened(sysctl: Callable[[str], str], has_own_kernel: bool, observe: Look) -> None:
    if not has_own_kernel:
        observe.not_applicable(CONTAINER)
    seen = {name: sysctl(name) for name in KERNEL}

    differing = {name: value for name, value in seen.items() if value != KERNEL[name]}
    observe(differing, wanted={})


@pytest.mark.control("base-07")
def test_scratch_directories_refuse_devices_and_set_uid_programs(
    host: Host, has_own_kernel: bool, observe: Look
) -> None:
    if not has_own_kernel:
        observe.not_applicable(CONTAINER)
    lacking = {}
    for place, wanted in MOUNTS.items():
        options = set(host.run(f"findmnt -no OPTIONS --target {place}").stdout.strip().split(","))
        if missing := sorted(wanted - options):
            lacking[place] = missing

    observe(lacking, wanted={})


@pytest.mark.control("base-09")
def test_accounts_are_locked_after_failed_passwords(host: Host, observe: Look) -> None:
    pam = host.check_output("cat /etc/pam.d/common-auth")
    deny = host.run("grep -E '^ *deny *=' /etc/security/faillock.conf").stdout.partition("=")[2].strip()

    observe(
        {"asked by PAM": "pam_faillock.so" in pam, "attempts": deny},
        wanted="asked by PAM, at most 5 attempts",
        is_met="pam_faillock.so" in pam and deny.isdigit() and 0 < int(deny) <= 5,
    )
