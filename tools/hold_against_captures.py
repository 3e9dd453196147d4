"""Hold our reading of policies against what Tailscale's own service made of them.

headscale's repository (`hscontrol/policy/v2/testdata`) has policies that were sent to the service, with the packet
filters that its nodes got and what it said to their tests. They stay there: `tools/hold_against_captures.py DIRECTORY`
reads them, asks our evaluator the same, and exits with 1 where an answer differs.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from itertools import permutations, product
from pathlib import Path
from typing import Any

from console import say

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mutx_infra.errors import RefusedError
from mutx_infra.tailnet.evaluation import Address, Evaluator, Identity
from mutx_infra.tailnet.policy import read_policy

PROTOCOLS = (1, 6, 17, 47, 58, 132)
WITH_PORTS = (6, 17, 132)
PORTS = (22, 53, 80, 443, 8080, 9999)
FINE = 200


def main(arguments: list[str]) -> int:
    """Read every capture below the directory that is named."""
    (directory,) = arguments
    counted: Counter[str] = Counter()
    differing: list[str] = []
    for kind in ("acl", "grant", "policytest"):
        for file in sorted(Path(directory, f"{kind}_results").glob("*.hujson")):
            said = _differences(_read(file), counted, kind)
            differing += [f"{file.stem}: {each}" for each in said]
    for what, times in sorted(counted.items()):
        say(f"{what}: {times}")
    for line in differing:
        say(line)
    return 1 if differing else 0


def _read(file: Path) -> dict[str, Any]:
    """Read a capture, whose comments stand on lines of their own."""
    text = "\n".join(
        line for line in file.read_text("utf-8").splitlines() if not line.lstrip().startswith("//")
    )
    found: dict[str, Any] = json.loads(re.sub(r",(\s*[\]}])", r"\1", text))
    return found


def _differences(capture: Mapping[str, Any], counted: Counter[str], kind: str) -> Iterator[str]:
    text, taken = capture["input"]["full_policy"], capture["input"]["api_response_code"] == FINE
    try:
        evaluator = Evaluator(read_policy(text if isinstance(text, str) else json.dumps(text)))
        failed = evaluator.failed_tests()
    except RefusedError as error:
        if taken and error.code == "tailnet-policy-invalid":
            yield f"the service takes it, we do not: {error.message}"
        counted["policies about which we give no answer" if taken else "policies that both refuse"] += 1
        return
    if kind == "policytest":
        counted["policies whose tests were run"] += 1
        if taken is bool(failed):
            yield f"tests hold there: {taken}; here {failed}"
    elif taken:
        counted["policies with filters"] += 1
        yield from _filters(capture, evaluator, counted)
    else:
        counted["policies that the service alone refuses"] += 1


def _filters(capture: Mapping[str, Any], evaluator: Evaluator, counted: Counter[str]) -> Iterator[str]:
    logins = {user["name"]: user["email"] for user in capture["topology"]["users"]}
    nodes = {name: node for name, node in capture["topology"]["nodes"].items() if node["ipv4"]}
    parties = {name: _identity(node, logins) for name, node in nodes.items()}
    for source, destination in permutations(nodes, 2):
        matches = (capture["captures"].get(destination) or {}).get("packet_filter_matches") or []
        ends = ip_address(nodes[source]["ipv4"]), ip_address(nodes[destination]["ipv4"])
        for protocol, port in product(PROTOCOLS, PORTS):
            counted["questions"] += 1
            there = any(_lets_in(match, *ends, protocol, port) for match in matches)
            here = evaluator.reach(parties[source], parties[destination], protocol, port).is_open
            if there is not here:
                yield f"{source} → {destination} {protocol}:{port}: there {there}, here {here}"
                return


def _identity(node: Mapping[str, Any], logins: Mapping[str, str]) -> Identity:
    addresses = tuple(ip_address(node[family]) for family in ("ipv4", "ipv6") if node[family])
    user = "" if node["tags"] else logins.get(node.get("user", ""), "")
    return Identity(user=user, tags=tuple(node["tags"]), addresses=addresses)


def _lets_in(
    match: Mapping[str, Any], source: Address, destination: Address, protocol: int, port: int
) -> bool:
    """Say whether one rule of a filter, as tailscaled has it, is about a packet."""
    if protocol not in (match["IPProto"] or ()):
        return False
    if not any(source in ip_network(network) for network in match["Srcs"] or ()):
        return False
    return any(
        destination in ip_network(target["Net"])
        and (protocol not in WITH_PORTS or target["Ports"]["First"] <= port <= target["Ports"]["Last"])
        for target in match["Dsts"] or ()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
