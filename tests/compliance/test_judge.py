"""The language model that judges, on a guard's host (PRIN-2): release, model, unit and key. vLLM was not run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

pytestmark = pytest.mark.roles("guard")

ROOT, NAME = "/opt/mutx-judge", "mutx-judge"
KEY = "/etc/mutx-judge/key"
PROGRAM = "/usr/libexec/mutx/mutx-judge"
CONFINED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "RestrictSUIDSGID": "yes",
    "TasksMax": "4096",
}
ANY, LOOPBACK = ["0.0.0.0/0", "::/0"], ["127.0.0.0/8", "::1/128"]


@pytest.fixture(autouse=True)
def _where_a_judge_is(host: Host, observe: Look) -> None:
    if not host.file(f"/etc/systemd/system/{NAME}.service").exists:
        observe.not_applicable("no judge is installed on this host")


@pytest.fixture(scope="module")
def shown(host: Host) -> dict[str, str]:
    """The unit as systemd has it in force, drop-ins of others included."""
    names = [
        *CONFINED,
        "User",
        "MemoryMax",
        "IPAddressDeny",
        "IPAddressAllow",
        "PrivateDevices",
        "DevicePolicy",
    ]
    text = host.check_output(f"systemctl show {NAME}.service --property={','.join(names)}")
    return dict(line.partition("=")[::2] for line in text.splitlines())


@pytest.mark.control("judge-02")
def test_its_server_and_model_are_whole_and_root_s_alone(host: Host, observe: Look) -> None:
    current = host.run(f"readlink {ROOT}/current").stdout.strip()
    whole = host.file(f"{ROOT}/{current}/.whole").exists
    others = host.check_output(f"find {ROOT} ! -type l '(' ! -user root -o -perm /022 ')' -print -quit")
    differ = host.run(
        f"cd {ROOT}/models && for each in */; do (cd $each && sha256sum --quiet --check manifest.sha256); done"
    )

    observe(
        {
            "release": current,
            "is whole": whole,
            "others may write to": others,
            "model": differ.stdout.strip(),
        },
        wanted="a whole release and a model as its manifest says, that root alone may change",
        is_met=bool(current) and whole and not others and differ.rc == 0,
    )


@pytest.mark.control("judge-03")
def test_its_unit_is_confined(shown: dict[str, str], host: Host, observe: Look) -> None:
    shell = host.check_output(f"getent passwd {NAME}").rpartition(":")[2]
    seen: dict[str, object] = {name: shown.get(name, "") for name in (*CONFINED, "User")}
    wanted: dict[str, object] = {**CONFINED, "User": NAME}
    seen |= {
        "shell": shell,
        "IPAddressDeny": sorted(shown.get("IPAddressDeny", "").split()),
        "IPAddressAllow": sorted(shown.get("IPAddressAllow", "").split()),
        "sees no device but its own": shown.get("PrivateDevices") == "yes"
        or shown.get("DevicePolicy") == "closed",
        "has a limit of memory": shown.get("MemoryMax", "").isdigit(),
    }
    wanted |= {
        "shell": "/usr/sbin/nologin",
        "IPAddressDeny": ANY,
        "IPAddressAllow": LOOPBACK,
        "sees no device but its own": True,
        "has a limit of memory": True,
    }

    observe(seen, wanted=wanted)


@pytest.mark.control("judge-04")
def test_it_runs_from_boot(unit: Callable[[str], Unit], observe: Look) -> None:
    seen = unit(f"{NAME}.service")

    observe(str(seen), wanted="enabled and active", is_met=seen.runs_from_boot)


@pytest.mark.control("judge-05")
def test_its_key_is_root_s_alone_and_in_no_list_of_processes(host: Host, observe: Look) -> None:
    seen = host.run(f"stat --format='%A %U %G' {KEY}").stdout.strip()
    shown = host.run(f"cat /proc/[0-9]*/cmdline | grep --text --quiet --fixed-strings --file={KEY}").rc == 0

    observe(
        {"key": seen, "among arguments": shown},
        wanted={"key": "-rw------- root root", "among arguments": False},
    )


@pytest.mark.control("judge-06")
def test_it_has_its_model_answers_on_loopback_alone_and_only_who_has_the_key(
    host: Host, variables: dict[str, Any], observe: Look
) -> None:
    told = json.loads(host.file("/etc/mutx-judge/vllm.yml").content_string)
    port, model = told["port"], variables.get("judge_model") or told["served-model-name"]
    asked = host.run(f"{PROGRAM} ready --key-file {KEY} --port {port} --model {model}")
    listening = host.check_output(f"ss --listening --tcp --numeric --no-header '( sport = :{port} )'")
    places = sorted(set(re.findall(rf"(\S+):{port}\b", listening)))

    observe(
        {"said": asked.stdout.strip() or asked.stderr.strip(), "listens at": places},
        wanted=f"ready, with {model}, at 127.0.0.1",
        is_met=asked.rc == 0 and places == ["127.0.0.1"],
    )
