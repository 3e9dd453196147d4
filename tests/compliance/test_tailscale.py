"""The tailnet's node (ZTNA-1, ZTNA-3): asked of the running daemon and of the kernel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

NODES = ("agent", "guard", "mgmt", "vault", "trial")
FIXED = "/etc/mutx/tailnet.json"
KEYRING = "/usr/share/keyrings/tailscale-archive-keyring.gpg"
FINGERPRINT = "2596A99EAAB33821893C0A79458CA832957F5868"
PORT = 41641
REFUSED = {
    "CorpDNS": False, "RouteAll": False, "RunSSH": False, "RunWebClient": False, "PostureChecking": False,
    "AdvertiseRoutes": None, "ExitNodeID": "", "AutoUpdate": False,
}  # fmt: skip

pytestmark = pytest.mark.roles(*NODES)


@pytest.fixture(scope="module")
def has_fixed_addresses(host: Host) -> bool:
    """True where no tailscaled carries the tailnet."""
    return bool(host.file(FIXED).exists)


@pytest.fixture
def node(has_fixed_addresses: bool, observe: Look) -> None:
    """The control is for hosts with a tailscaled."""
    if has_fixed_addresses:
        observe.not_applicable("the tailnet's addresses are fixed; nothing but the interface carries it")


@pytest.mark.control("ts-01")
@pytest.mark.usefixtures("node")
def test_it_comes_from_the_pinned_repository_or_the_image(
    host: Host, variables: dict[str, Any], observe: Look
) -> None:
    by_package = host.package("tailscale").is_installed
    if variables.get("tailscale_source", "repository" if by_package else "image") == "image":
        observe({"daemon": host.file("/usr/sbin/tailscaled").exists}, wanted={"daemon": True})
        return
    listed = host.run(f"gpg --show-keys --with-colons {KEYRING}").stdout
    keys = [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")][:1]
    signed_by = host.run("grep -h ^Signed-By: /etc/apt/sources.list.d/tailscale.sources").stdout.strip()

    observe(
        {"key": keys, "source": signed_by}, wanted={"key": [FINGERPRINT], "source": f"Signed-By: {KEYRING}"}
    )


@pytest.mark.control("ts-02")
@pytest.mark.usefixtures("node")
def test_it_runs_from_boot_at_its_port(host: Host, unit: Callable[[str], Unit], observe: Look) -> None:
    listening = host.run(f"ss --no-header --udp --listening --numeric --processes 'sport = :{PORT}'").stdout

    observe(
        {"runs from boot": unit("tailscaled.service").runs_from_boot, "port": "tailscaled" in listening},
        wanted={"runs from boot": True, "port": True},
    )


@pytest.mark.control("ts-03")
@pytest.mark.usefixtures("node")
def test_the_tailnet_gives_nothing_but_packets(host: Host, variables: dict[str, Any], observe: Look) -> None:
    prefs = _prefs(host)
    seen = {name: prefs.get(name) for name in REFUSED}
    seen["AutoUpdate"] = (seen["AutoUpdate"] or {}).get("Apply")
    operator = str(variables.get("tailscale_operator", "mutx"))

    observe({**seen, "OperatorUser": prefs.get("OperatorUser")}, wanted={**REFUSED, "OperatorUser": operator})


@pytest.mark.control("ts-04")
@pytest.mark.usefixtures("node")
def test_its_state_is_roots_and_the_key_is_gone(host: Host, observe: Look) -> None:
    state = host.file("/var/lib/tailscale")
    seen = {
        "state": f"{state.user} {state.mode:04o}" if state.exists else "absent",
        "key": host.file("/run/mutx/join-key").exists,
    }

    observe(seen, wanted={"state": "root 0700", "key": False})


@pytest.mark.control("ts-05")
@pytest.mark.usefixtures("node")
def test_no_chain_of_its_own_stands_before_the_firewall(host: Host, observe: Look) -> None:
    kept = [
        line
        for tool in ("iptables", "ip6tables")
        for line in host.check_output(f"{tool} --wait 10 -S").splitlines()
        if "ts-input" in line or "ts-forward" in line
    ]

    observe(
        {"mode": _prefs(host).get("NetfilterMode", 0), "chains": kept},
        wanted={"mode": 0, "chains": []},
    )


@pytest.mark.control("ts-06")
def test_fixed_addresses_have_the_interface_to_themselves(
    host: Host, has_fixed_addresses: bool, unit: Callable[[str], Unit], observe: Look
) -> None:
    if not has_fixed_addresses:
        observe.not_applicable("tailscaled carries the tailnet")

    observe(
        {
            "interface": unit("mutx-tailnet.service").runs_from_boot,
            "tailscaled": unit("tailscaled.service").active,
        },
        wanted={"interface": True, "tailscaled": "inactive"},
    )


def _prefs(host: Host) -> dict[str, Any]:
    """Return the daemon's settings; {} where it does not answer."""
    answer = host.run("tailscale debug prefs")
    found: dict[str, Any] = json.loads(answer.stdout) if answer.rc == 0 else {}
    return found
