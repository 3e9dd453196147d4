"""A tenant's guardrail on its host (PRIN-2): accounts, release, units, asked of systemd and the file system."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

pytestmark = pytest.mark.roles("guard")

ROOT = "/opt/mutx-guardrail"
READY = "/usr/libexec/mutx/mutx-guard-ready"
WAITS = 3
JUDGE, EGRESS = "mutx-guardrail", "mutx-guard-egress"
CONFINED = {
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
    "TasksMax": "256",
}
DENIED = {JUDGE: {"0.0.0.0/0", "::/0"}, EGRESS: {"169.254.169.254/32", "fd00:ec2::254/128"}}
LOOPBACK = {"127.0.0.0/8", "::1/128"}


@pytest.fixture(autouse=True)
def _where_a_guardrail_is(host: Host, observe: Look) -> None:
    if not host.file(f"/etc/systemd/system/{JUDGE}.service").exists:
        observe.not_applicable("no guardrail is installed on this host")


@pytest.fixture(scope="module")
def shown(host: Host) -> dict[str, dict[str, str]]:
    """Both units as systemd has them in force, drop-ins of others included."""
    names = ",".join(
        [
            *CONFINED,
            "User",
            "MemoryMax",
            "IPAddressDeny",
            "IPAddressAllow",
            "ConditionResult",
            "UnitFileState",
        ]
    )
    found = {}
    for unit in (JUDGE, EGRESS):
        text = host.check_output(f"systemctl show {unit}.service --property={names}")
        found[unit] = dict(line.partition("=")[::2] for line in text.splitlines())
    return found


@pytest.mark.control("guard-01")
def test_its_accounts_have_no_shell_and_no_password(host: Host, observe: Look) -> None:
    seen = {}
    for account in (JUDGE, EGRESS):
        shell = host.check_output(f"getent passwd {account}").rpartition(":")[2]
        password = host.check_output(f"passwd --status {account}").split()[1]
        groups = host.check_output(f"id --name --groups {account}")
        seen[account] = f"{shell} {password} {groups}"

    observe(seen, wanted={account: f"/usr/sbin/nologin L {account}" for account in (JUDGE, EGRESS)})


@pytest.mark.control("guard-02")
def test_its_release_is_whole_and_root_s_alone(host: Host, observe: Look) -> None:
    current = host.run(f"readlink {ROOT}/current").stdout.strip()
    whole = host.file(f"{ROOT}/{current}/.whole").exists
    loose = f"find {ROOT} ! -type l ( ! -user root -o -perm /022 ) -print -quit"
    others = host.check_output(" ".join(shlex.quote(word) for word in loose.split()))

    observe(
        {"release": current, "is whole": whole, "others may write to": others},
        wanted="a whole release that root alone may change",
        is_met=bool(current) and whole and not others,
    )


@pytest.mark.control("guard-03")
def test_its_units_are_confined(
    shown: dict[str, dict[str, str]], variables: dict[str, Any], observe: Look
) -> None:
    seen: dict[str, object] = {}
    wanted: dict[str, object] = {}
    for unit, properties in shown.items():
        seen |= {f"{unit} {name}": properties.get(name, "") for name in (*CONFINED, "User")}
        seen[f"{unit} IPAddressDeny"] = sorted(properties.get("IPAddressDeny", "").split())
        wanted |= {f"{unit} {name}": value for name, value in {**CONFINED, "User": unit}.items()}
        wanted[f"{unit} IPAddressDeny"] = sorted(DENIED[unit])
        seen[f"{unit} has a limit of memory"] = properties.get("MemoryMax", "").isdigit()
        wanted[f"{unit} has a limit of memory"] = True
    if "guardrail_peers" in variables:
        seen["peers"] = sorted(shown[JUDGE].get("IPAddressAllow", "").split())
        wanted["peers"] = sorted({*LOOPBACK, *variables["guardrail_peers"]})

    observe(seen, wanted=wanted)


@pytest.mark.control("guard-04")
def test_its_units_run_from_boot_or_wait_for_their_certificates(
    unit: Callable[[str], Unit], shown: dict[str, dict[str, str]], host: Host, observe: Look
) -> None:
    rules = host.file("/etc/mutx-guardrail/egress.yml").content_string
    wanted_units = [JUDGE, EGRESS] if '"names"' in rules else [JUDGE]
    wrong = {}
    for name in wanted_units:
        seen = unit(f"{name}.service")
        waits = seen.active == "inactive" and shown[name].get("ConditionResult") == "no"
        if seen.enabled != "enabled" or not (seen.active == "active" or waits):
            wrong[name] = str(seen)

    observe(wrong or "all", wanted="enabled, and active or waiting for a certificate", is_met=not wrong)


@pytest.mark.control("guard-05")
def test_its_certificates_are_readable_by_its_accounts_alone(host: Host, observe: Look) -> None:
    wrong = []
    for account in (JUDGE, EGRESS):
        listed = host.run(f"find /run/{account}-secrets -printf '%M %u %g %f\\n'").stdout.splitlines()
        directory = f"drwx--x--- root {account} {account}-secrets"
        wrong += [] if directory in listed else [f"no {directory}"]
        wrong += [
            line for line in listed
            if line != directory and not line.startswith((f"-r-------- {account} ", f"-rw------- {account} "))
        ]  # fmt: skip

    observe(wrong, wanted=[])


@pytest.mark.control("guard-06")
def test_it_would_judge_a_text_now(host: Host, observe: Look) -> None:
    asked = host.run(READY)
    if asked.rc == WAITS:
        observe.not_applicable("it waits for its certificate")
    seen = json.loads(asked.stdout) if asked.stdout else {"status": asked.stderr.strip()}

    observe(seen, wanted="ready; what it does without stands in `degraded`", is_met=asked.rc == 0)
