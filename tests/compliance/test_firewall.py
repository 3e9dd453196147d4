"""The host firewall (NET-4): asked of the kernel, in both families, and compared with the flow table's rows."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.plugin import Look

FAMILIES = {4: "iptables", 6: "ip6tables"}
INCOMING, OUTGOING = "input", "output"
CHAINS = {f"{prefix}-user-{way}": way for prefix in ("ufw", "ufw6") for way in (INCOMING, OUTGOING)}
_OPTIONS = {"-s": "source", "-d": "destination", "-i": "interface", "-p": "protocol", "--dport": "port"}


@dataclass(frozen=True, order=True)
class Opening:
    """One accepted flow: which way, over what, from or to whom."""

    chain: str
    protocol: str
    port: str
    peer: str
    interface: str

    def __str__(self) -> str:
        way = "from" if self.chain == INCOMING else "to"
        on = f" on {self.interface}" if self.interface else ""
        return f"{self.port}/{self.protocol} {way} {self.peer}{on}"


@pytest.fixture(scope="module")
def chains(host: Host) -> dict[int, list[str]]:
    """The filter table as `iptables -S` prints it, by family."""
    return {
        family: host.check_output(f"{tool} --wait 10 -S").splitlines() for family, tool in FAMILIES.items()
    }


@pytest.fixture(scope="module")
def openings(chains: dict[int, list[str]]) -> set[Opening]:
    """Everything that the tenant's own rules accept."""
    return {
        opening
        for family, lines in chains.items()
        for line in lines
        if (opening := _parsed(line, family)) is not None
    }


@pytest.mark.control("ufw-05")
def test_it_is_on_and_will_be_after_a_reboot(host: Host, unit: Callable[[str], Unit], observe: Look) -> None:
    status = host.check_output("ufw status").partition("\n")[0]
    enabled = unit("ufw.service").enabled

    observe({"status": status, "boot": enabled}, wanted={"status": "Status: active", "boot": "enabled"})


@pytest.mark.control("ufw-04")
def test_what_no_rule_admits_is_dropped_in_both_families(chains: dict[int, list[str]], observe: Look) -> None:
    policies = {
        f"IPv{family} {name}": policy
        for family, lines in chains.items()
        for name in ("INPUT", "FORWARD")
        for policy in [next((line.split()[-1] for line in lines if line.startswith(f"-P {name} ")), "none")]
    }

    observe(policies, wanted=dict.fromkeys(policies, "DROP"))


@pytest.mark.control("ufw-03")
def test_what_comes_in_and_goes_out_is_what_the_flow_table_says(
    openings: set[Opening], variables: dict[str, Any], observe: Look
) -> None:
    if "ufw_incoming_rules" not in variables:
        observe.not_applicable("the inventory does not say what the host may accept")
    wanted = {_planned(INCOMING, rule, "source") for rule in variables["ufw_incoming_rules"]}
    seen = {opening for opening in openings if opening.chain == INCOMING}
    if variables.get("ufw_outgoing_policy") == "deny":
        wanted |= {_planned(OUTGOING, rule, "destination") for rule in variables["ufw_outgoing_rules"]}
        seen = openings

    extra, missing = sorted(map(str, seen - wanted)), sorted(map(str, wanted - seen))
    observe(
        f"{len(seen)} rules; too many: {', '.join(extra) or 'none'}; missing: {', '.join(missing) or 'none'}",
        wanted=f"{len(wanted)} rules of the flow table",
        is_met=not extra and not missing,
    )


@pytest.mark.control("ufw-07")
def test_ssh_is_open_to_nobody_beyond_the_flow_table(
    openings: set[Opening], variables: dict[str, Any], observe: Look
) -> None:
    planned = {_planned(INCOMING, rule, "source") for rule in variables.get("ufw_incoming_rules", [])}
    if not planned:
        observe.not_applicable("the inventory does not say what the host may accept")

    seen = sorted(str(o) for o in openings - planned if o.chain == INCOMING and o.port in {"22", "any"})
    observe(seen, wanted=[])


def _planned(chain: str, rule: dict[str, Any], peer: str) -> Opening:
    return Opening(
        chain=chain,
        protocol=str(rule["protocol"]),
        port=str(rule["port"]),
        peer=str(ip_network(rule[peer])),
        interface=str(rule.get("interface") or ""),
    )


def _parsed(line: str, family: int) -> Opening | None:
    """Return what a line of `iptables -S` accepts; None for what is no rule of the tenant's or accepts nothing."""
    words = shlex.split(line)
    if len(words) < 2 or words[0] != "-A" or words[1] not in CHAINS:
        return None
    way = CHAINS[words[1]]
    found = {_OPTIONS[word]: words[index + 1] for index, word in enumerate(words) if word in _OPTIONS}
    if "ACCEPT" not in words:
        return None
    peer = found.get("source" if way == INCOMING else "destination")
    anywhere = "0.0.0.0/0" if family == 4 else "::/0"
    return Opening(
        chain=way,
        protocol=found.get("protocol", "any"),
        port=found.get("port", "any"),
        peer=str(ip_network(peer or anywhere)),
        interface=found.get("interface", ""),
    )
