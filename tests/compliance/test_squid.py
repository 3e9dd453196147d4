"""The one way out (NET-4, PRIN-2): what mgmt's proxy is told, and what others get from it when they ask for more."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from mutx_infra.compliance.conftest import Host, Unit
from mutx_infra.compliance.database import listeners
from mutx_infra.compliance.plugin import Look

CONFIGURATION = "/etc/squid/mutx.conf"
PORT = 3128
FIRST_RULES = ["deny !connect", "deny !https", "deny too_many"]
REFUSED = {
    "a name that nobody allowed": "CONNECT example.com:443",
    "another port": "CONNECT deb.debian.org:22",
    "an address": "CONNECT 1.1.1.1:443",
    "the metadata service": "CONNECT 169.254.169.254:443",
    "plain HTTP": "GET http://deb.debian.org/",
    "its own pages": "GET cache_object://localhost/info",
}
_ASK = """
import json, socket, sys
address, port, *requests = sys.argv[1:]
answers = []
for request in requests:
    with socket.create_connection((address, int(port)), timeout=10) as connection:
        connection.sendall((request + " HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n").encode())
        answers.append(connection.recv(1024).decode(errors="replace").partition(" ")[2][:3])
print(json.dumps(answers))
"""


@pytest.mark.roles("mgmt")
@pytest.mark.control("proxy-01")
def test_it_runs_from_boot_as_nobody_in_particular(
    host: Host, unit: Callable[[str], Unit], variables: dict[str, Any], observe: Look
) -> None:
    process = host.check_output("systemctl show --property MainPID --value squid.service")
    wanted = variables.get("squid_addresses") or ["*"]
    seen = {
        "runs from boot": unit("squid.service").runs_from_boot,
        "account": host.run(f"ps -o user= -p {process}").stdout.strip(),
        "listens on": listeners(host, PORT),
    }

    observe(seen, wanted={"runs from boot": True, "account": "proxy", "listens on": sorted(wanted)})


@pytest.mark.roles("mgmt")
@pytest.mark.control("proxy-02")
def test_its_rules_name_clients_and_places_and_refuse_the_rest(
    host: Host, variables: dict[str, Any], observe: Look
) -> None:
    text = host.check_output(f"cat {CONFIGURATION}")
    rules = re.findall(r"^http_access (.+)$", text, re.MULTILINE)
    sources = re.findall(r"^acl from_\d+ src (.+)$", text, re.MULTILINE)
    started = host.check_output(
        'date +%s -d "$(systemctl show --property ExecMainStartTimestamp --value squid.service)"'
    )
    seen = {
        "first": rules[:3],
        "last": rules[-1:],
        "others lead outside": all(rule.endswith(" !inside") for rule in rules[3:-1]),
        "clients": sorted(sources),
        "in force": int(host.check_output(f"stat -c %Y {CONFIGURATION}")) <= int(started),
    }
    clients = variables.get("squid_clients") or [{"source": source} for source in sources]

    observe(
        seen,
        wanted={
            "first": FIRST_RULES, "last": ["deny all"], "others lead outside": True,
            "clients": sorted(client["source"] for client in clients), "in force": True,
        },
    )  # fmt: skip


@pytest.mark.roles("agent", "control-plane", "database", "guard", "vault")
@pytest.mark.control("proxy-03")
def test_nothing_else_is_to_be_had_from_it(host: Host, variables: dict[str, Any], observe: Look) -> None:
    found = re.fullmatch(r"http://([0-9.]+):(\d+)", str(variables.get("base_apt_proxy", "")))
    if found is None:
        observe.not_applicable("the inventory names no proxy for this host")
    asked = shlex.join(["python3", "-c", _ASK, *found.groups(), *REFUSED.values()])
    answer = host.run(asked)
    answers = json.loads(answer.stdout) if answer.rc == 0 else ["no answer"] * len(REFUSED)

    observe(dict(zip(REFUSED, answers, strict=True)), wanted=dict.fromkeys(REFUSED, "403"))
