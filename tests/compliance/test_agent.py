"""A tenant's agent on its host (PRIN-2): account, release, unit, keys, asked of systemd and of the file system."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

pytestmark = pytest.mark.roles("agent")

UNIT, ACCOUNT, ROOT = "mutx-agent.service", "mutx-agent", "/opt/mutx-agent"
KEYS = "/run/mutx-agent-secrets"
CONFINED = {
    "User": ACCOUNT,
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RestrictSUIDSGID": "yes",
}
ANYBODY = {"0.0.0.0/0", "::/0"}
LOOPBACK = {"127.0.0.0/8", "::1/128"}


@pytest.fixture(autouse=True)
def _where_an_agent_is(host: Host, observe: Look) -> None:
    if not host.file(f"/etc/systemd/system/{UNIT}").exists:
        observe.not_applicable("no agent is installed on this host")


@pytest.fixture(scope="module")
def shown(host: Host) -> dict[str, str]:
    """The unit as systemd has it in force, drop-ins of others included."""
    names = ",".join([*CONFINED, "IPAddressDeny", "IPAddressAllow", "ConditionResult"])
    text = host.check_output(f"systemctl show {UNIT} --property={names}")
    return dict(line.partition("=")[::2] for line in text.splitlines())


@pytest.mark.control("agent-01")
def test_its_account_has_no_shell_and_no_password(host: Host, observe: Look) -> None:
    shell = host.check_output(f"getent passwd {ACCOUNT}").rpartition(":")[2]
    password = host.check_output(f"passwd --status {ACCOUNT}").split()[1]
    groups = host.check_output(f"id --name --groups {ACCOUNT}")

    observe(
        {"shell": shell, "password": password, "groups": groups},
        wanted={"shell": "/usr/sbin/nologin", "password": "L", "groups": ACCOUNT},
    )


@pytest.mark.control("agent-02")
def test_its_release_is_whole_and_root_s_alone(host: Host, observe: Look) -> None:
    current = host.run(f"readlink {ROOT}/current").stdout.strip()
    whole = host.file(f"{ROOT}/{current}/.whole").exists
    loose = f"find {ROOT} ! -type l ( ! -user root -o -perm /022 ) -print -quit"
    quoted = " ".join(shlex.quote(word) for word in loose.split())

    observe(
        {"release": current, "is whole": whole, "others may write to": host.check_output(quoted)},
        wanted="a whole release that root alone may change",
        is_met=bool(current) and whole and not host.check_output(quoted),
    )


@pytest.mark.control("agent-03")
def test_its_unit_confines_it_to_its_partners(
    shown: dict[str, str], variables: dict[str, Any], observe: Look
) -> None:
    # systemd keeps networks as a set, and shows them in another order after another boot.
    networks = {name: sorted(shown.get(name, "").split()) for name in ("IPAddressDeny", "IPAddressAllow")}
    seen: dict[str, object] = {name: shown.get(name, "") for name in CONFINED}
    seen["IPAddressDeny"] = networks["IPAddressDeny"]
    wanted: dict[str, object] = {**CONFINED, "IPAddressDeny": sorted(ANYBODY)}
    if "agent_runtime_peers" in variables:
        seen["IPAddressAllow"] = networks["IPAddressAllow"]
        wanted["IPAddressAllow"] = sorted({*LOOPBACK, *variables["agent_runtime_peers"]})

    observe(seen, wanted=wanted)


@pytest.mark.control("agent-04")
def test_it_runs_from_boot_or_waits_for_its_certificates(
    unit: Callable[[str], Unit], shown: dict[str, str], observe: Look
) -> None:
    seen = unit(UNIT)
    waits = seen.active == "inactive" and shown.get("ConditionResult") == "no"

    observe(
        f"{seen}{', waits for its certificates' if waits else ''}",
        wanted="enabled, and active or waiting for its certificates",
        is_met=seen.enabled == "enabled" and (seen.active == "active" or waits),
    )


@pytest.mark.control("agent-05")
def test_its_keys_are_readable_by_its_account_alone(host: Host, observe: Look) -> None:
    listed = host.run(f"find {KEYS} -printf '%M %u %g %f\\n'").stdout.splitlines()
    directory = f"drwx--x--- root {ACCOUNT} {KEYS.rpartition('/')[2]}"
    loose = [
        line
        for line in listed
        if line != directory and not line.startswith((f"-r-------- {ACCOUNT} ", f"-rw------- {ACCOUNT} "))
    ]

    observe(
        {"directory": directory in listed, "readable by others": loose},
        wanted={"directory": True, "readable by others": []},
    )
