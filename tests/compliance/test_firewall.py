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


@pytest.mark.control("ufw-08")
def test_what_docker_publishes_passes_the_same_rules(
    host: Host, chains: dict[int, list[str]], variables: dict[str, Any], observe: Look
) -> None:
    if not host.file("/usr/bin/dockerd").exists and not host.file("/run/docker.sock").exists:
        observe.not_applicable("there is no Docker on this host")
    planned = variables.get("ufw_incoming_rules", [])
    seen = {family: _published(lines, family) for family, lines in chains.items()}
    wanted = {
        family: {
            _planned(INCOMING, rule, "source")
            for rule in planned
            if ip_network(rule["source"]).version == family
        }
        for family in FAMILIES
    }

    extra = sorted(f"{o}" for family in FAMILIES for o in seen[family] - wanted[family])
    dropped = [family for family, lines in chains.items() if "-A DOCKER-USER -j DROP" in lines]
    observe(
        {"published and open to others than planned": extra, "the rest is dropped in": dropped},
        wanted={"published and open to others than planned": [], "the rest is dropped in": list(FAMILIES)},
    )


@pytest.mark.control("ufw-09")
def test_an_account_with_destinations_of_its_own_reaches_no_others(
    chains: dict[int, list[str]], variables: dict[str, Any], observe: Look
) -> None:
    accounts = variables.get("ufw_outgoing_accounts", [])
    if not accounts:
        observe.not_applicable("no account of this host has destinations of its own")
    wanted = {
        f"{account['uid']}: {rule['port']}/{rule['protocol']} to {ip_network(rule['destination'])}"
        for account in accounts
        for rule in account["rules"]
    }
    wanted |= {f"{account['uid']}: the rest is dropped by IPv{f}" for account in accounts for f in FAMILIES}
    seen = {said for family, lines in chains.items() for line in lines if (said := _of_account(line, family))}

    observe(sorted(seen), wanted=sorted(wanted))


def _published(lines: list[str], family: int) -> set[Opening]:
    """Return what may come in to ports that Docker publishes: the chain's rules before its DROP."""
    found = set()
    for line in lines:
        words = shlex.split(line)
        if words[:2] != ["-A", "DOCKER-USER"]:
            continue
        if words[-1] == "DROP" and "-i" not in words:
            break
        by = {word: words[index + 1] for index, word in enumerate(words[:-1])}
        if by.get("-i", "").startswith(("docker0", "br-")) or "RELATED,ESTABLISHED" in words:
            continue
        anyone = "0.0.0.0/0" if family == 4 else "::/0"
        peer, port = str(ip_network(by.get("-s", anyone))), by.get("--ctorigdstport", "any")
        found.add(Opening(INCOMING, by.get("-p", "any"), port, peer, by.get("-i", "")))
    return found


def _of_account(line: str, family: int) -> str:
    """Return what a rule says of an account's packets; "" for a rule that is about none."""
    words = shlex.split(line)
    if "--uid-owner" not in words:
        return ""
    by = {word: words[index + 1] for index, word in enumerate(words[:-1])}
    if words[-1] == "DROP" and "-d" not in words:
        return f"{by['--uid-owner']}: the rest is dropped by IPv{family}"
    # A listing leaves out that a rule is for every address.
    everywhere = "0.0.0.0/0" if family == 4 else "::/0"
    port, protocol, peer = by.get("--dport", "any"), by.get("-p", "any"), by.get("-d", everywhere)
    return f"{by['--uid-owner']}: {port}/{protocol} to {ip_network(peer)}"
