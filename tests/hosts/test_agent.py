"""An agent on a real host: installed in releases, run by a real systemd, reached by its guard alone, locked in."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from mutx_provider_double import ProviderDouble

from tests.support.agents import (
    GUARD,
    KEY,
    PROXY_PORT,
    SECRETS,
    Authority,
    EgressProxy,
    Surroundings,
    build_wheel,
    listening_at,
    put,
    server_side,
)
from tests.support.checkout import make_checkout
from tests.support.machines import Answer, Hosts, Visitor
from tests.support.playbook import Outcome, Playbook
from tests.support.suites import verdicts

TRIAL = "10.63.255.0/24"
GUARD_ADDRESS, STRANGER_ADDRESS = "10.63.255.210", "10.63.255.211"
MOST_EXPOSED = 2.5
"""What `systemd-analyze security` may rate the unit at most; 10 is worst."""
RUN = {"input": "What is 6 * 7?"}
ONLY_THE_AGENT = ("--start-at-task", "Run the tenant's agent")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    made = Hosts(make_checkout(tmp_path_factory.mktemp("agent") / "check out"))
    made.up("1")
    yield made
    made.checkout.run("sandbox", "down")


@pytest.fixture(scope="module")
def around(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """The guard with its egress proxy in a namespace of its own, and the provider behind it."""
    own = tmp_path_factory.mktemp("authorities")
    tenant, public = Authority(own, "tenant"), Authority(own, "public")
    guard = hosts.visitor("guard", "trial", TRIAL, f"{GUARD_ADDRESS}/24")
    listening = listening_at(guard, GUARD_ADDRESS, PROXY_PORT)
    with (
        ProviderDouble(tls=server_side(public, "provider.example")) as provider,
        EgressProxy(server_side(tenant, GUARD, tenant.file), listening) as proxy,
    ):
        yield Surroundings(hosts, guard, tenant, public, provider, proxy)


@pytest.fixture(scope="module")
def stranger(hosts: Hosts) -> Visitor:
    return hosts.visitor("stranger", "trial", TRIAL, f"{STRANGER_ADDRESS}/24")


class Installed:
    """The host after its first run, and what was seen on the way."""

    def __init__(self, playbook: Playbook, check: Outcome, first: Outcome, waiting: str) -> None:
        self.playbook, self.check, self.first, self.waiting = playbook, check, first, waiting


@pytest.fixture(scope="module")
def installed(hosts: Hosts, around: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("playbook")
    wheel = build_wheel(folder)
    playbook = Playbook(hosts, ("trial-1",), folder, around.variables(wheel, GUARD_ADDRESS))
    check = playbook.run("--check", *ONLY_THE_AGENT)
    assert hosts.answer("trial-1", "ls /opt; getent passwd mutx-agent || true") == ""
    first = playbook.run()
    waiting = hosts.answer("trial-1", "systemctl show mutx-agent -p ActiveState,ConditionResult")
    put(hosts, "trial-1", "/etc/mutx-public-ca.pem", around.public.file.read_bytes(), "-m 0644")
    around.deliver("trial-1")
    # Returns when the agent has said READY=1.
    hosts.answer("trial-1", "sudo systemctl start mutx-agent")
    return Installed(playbook, check, first, waiting)


def main_pid(hosts: Hosts) -> int:
    return int(hosts.answer("trial-1", "systemctl show mutx-agent -p MainPID --value"))


def current(hosts: Hosts) -> str:
    return hosts.answer("trial-1", "readlink /opt/mutx-agent/current").rpartition("/")[2]


def journal(hosts: Hosts) -> list[dict[str, Any]]:
    lines = hosts.answer("trial-1", "sudo journalctl -u mutx-agent -o cat --no-pager").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def connects(hosts: Hosts, account: str, address: str, port: int) -> bool:
    """Whether an account of the host gets a connection."""
    program = f"import socket; socket.create_connection(({address!r}, {port}), 1.5)"
    return hosts.ssh("trial-1", f'sudo -u {account} python3 -c "{program}"').returncode == 0


def test_check_mode_foretells_the_first_run(installed: Installed) -> None:
    assert (installed.check.status, installed.first.status) == (0, 0), installed.first.text
    foretold = {r["task"] for r in installed.check.results if r.get("changed")}
    assert any("Install the release" in task for task in foretold)


def test_it_waits_for_its_certificates_and_says_when_it_is_ready(installed: Installed, hosts: Hosts) -> None:
    assert set(installed.waiting.split()) == {"ActiveState=inactive", "ConditionResult=no"}
    shown = hosts.answer("trial-1", "systemctl show mutx-agent -p ActiveState,StatusText")
    assert set(shown.split()) == {"ActiveState=active", "StatusText=ready"}


def test_its_guard_has_a_run_answered_by_the_provider_through_the_proxy(
    installed: Installed, around: Surroundings, hosts: Hosts
) -> None:
    status, answer = around.ask("/v1/runs", RUN, certificate=around.guard_certificate)

    assert (status, answer["status"]) == (200, "completed"), answer
    assert {target.split()[0] for target in around.proxy.targets} == {"CONNECT"}
    assert around.provider.calls[-1].key == KEY
    said = journal(hosts)
    assert {"listening", "loaded", "llm-call", "span"} <= {event["event"] for event in said}
    assert answer["trace_id"] in {event.get("trace_id") for event in said}
    assert KEY not in json.dumps(said)


def test_others_are_refused_by_certificate_and_by_address(
    installed: Installed, around: Surroundings, hosts: Hosts, stranger: Visitor
) -> None:
    address = str(hosts.state("trial-1").machine.wire.address)

    status, answer = around.ask("/v1/runs", RUN, certificate=around.tenant.issue("agent-2.trial.internal"))

    assert (status, answer["code"]) == (403, "caller-refused")
    for certificate in (None, around.public.issue(GUARD)):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            around.ask("/healthz", certificate=certificate)
    assert around.guard.knock(address, 8080) is Answer.OPEN
    assert stranger.knock(address, 8080) is Answer.SILENCE


@pytest.mark.parametrize("way", ["API", "file"])
def test_a_pause_survives_a_restart(
    installed: Installed, around: Surroundings, hosts: Hosts, way: str
) -> None:
    def ask(path: str, body: object = None, method: str = "") -> tuple[int, dict[str, Any]]:
        return around.ask(path, body, method=method, certificate=around.guard_certificate)

    if way == "API":
        assert ask("/v1/pause", {"reason": "a test"}, "PUT")[1]["paused"] is True
    else:
        hosts.answer("trial-1", "sudo touch /var/lib/mutx-agent/paused")
    hosts.answer("trial-1", "sudo systemctl restart mutx-agent")
    status, answer = ask("/v1/runs", RUN)
    if way == "API":
        ask("/v1/pause", method="DELETE")
    else:
        hosts.answer("trial-1", "sudo rm /var/lib/mutx-agent/paused")

    assert (status, answer["code"]) == (409, "agent-paused")
    assert ask("/v1/runs", RUN)[0] == 200


def test_a_killed_agent_comes_back(installed: Installed, around: Surroundings, hosts: Hosts) -> None:
    before = main_pid(hosts)
    hosts.answer("trial-1", f"sudo kill -9 {before}")
    deadline = time.monotonic() + 40
    while hosts.answer("trial-1", "systemctl is-active mutx-agent || true") != "active" or main_pid(
        hosts
    ) in {0, before}:
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.3)

    assert around.ask("/v1/runs", RUN, certificate=around.guard_certificate)[0] == 200


def test_its_account_alone_reads_the_key_and_reaches_the_proxy_alone(
    installed: Installed, hosts: Hosts, stranger: Visitor
) -> None:
    wire = hosts.state("trial-1").machine.wire
    elsewhere = [
        ("169.254.169.254", 80),
        (GUARD_ADDRESS, 443),
        (STRANGER_ADDRESS, PROXY_PORT),
        (str(wire.gateway), 53),
    ]
    listening = listening_at(stranger, STRANGER_ADDRESS, PROXY_PORT)

    assert hosts.ssh("trial-1", f"sudo -u nobody cat {SECRETS}/provider-key").returncode != 0
    assert hosts.answer("trial-1", f"sudo -u mutx-agent cat {SECRETS}/provider-key") == KEY
    assert connects(hosts, "mutx-agent", GUARD_ADDRESS, PROXY_PORT)
    assert [place for place in elsewhere if connects(hosts, "mutx-agent", *place)] == []
    # The same places are open to others of the host: it is the account that may not.
    assert connects(hosts, "nobody", "169.254.169.254", 80)
    assert connects(hosts, "nobody", STRANGER_ADDRESS, PROXY_PORT)
    listening.close()


def test_systemd_rates_the_unit_as_little_exposed(installed: Installed, hosts: Hosts) -> None:
    rated = hosts.answer("trial-1", "systemd-analyze security mutx-agent --no-pager | tail -1")

    found = re.search(r"exposure level for mutx-agent.service: ([0-9.]+)", rated)
    assert found, rated
    assert float(found[1]) <= MOST_EXPOSED


def test_an_install_that_is_killed_leaves_the_agent_and_the_next_one_is_whole_and_taken_back_by_a_variable(
    installed: Installed, around: Surroundings, hosts: Hosts, tmp_path: Path
) -> None:
    first, pid = current(hosts), main_pid(hosts)
    newer = replace(
        installed.playbook,
        variables={
            **installed.playbook.variables,
            "agent_runtime_wheel": str(build_wheel(tmp_path, "0.1.1")),
        },
    )
    outcomes: list[Outcome] = []
    running = Thread(target=lambda: outcomes.append(newer.run(*ONLY_THE_AGENT)))
    running.start()
    # pip and the module above it; the brackets keep this shell out of what is found.
    hosts.answer(
        "trial-1",
        "for _ in $(seq 600); do pid=$(pgrep -o -f '[w]heels/pip-.*install')"
        " && sudo kill -9 $(ps -o ppid= -p $pid) $pid && exit; sleep 0.1; done; exit 1",
    )
    running.join()

    assert outcomes[0].status != 0
    assert (current(hosts), main_pid(hosts)) == (first, pid)
    assert around.ask("/v1/runs", RUN, certificate=around.guard_certificate)[0] == 200

    assert newer.run(*ONLY_THE_AGENT).status == 0
    second, new_pid = current(hosts), main_pid(hosts)
    assert "-0.1.1-" in second
    assert new_pid != pid
    assert around.ask("/v1/runs", RUN, certificate=around.guard_certificate)[0] == 200

    refused = newer.run(*ONLY_THE_AGENT, agent_runtime_release="mutx_reference_agent-9.9-none")
    assert "[release-missing]" in refused.said()
    assert first in refused.said()
    assert (current(hosts), main_pid(hosts)) == (second, new_pid)

    assert newer.run(*ONLY_THE_AGENT, agent_runtime_release=first).status == 0
    assert current(hosts) == first
    assert main_pid(hosts) not in {0, new_pid}
    assert around.ask("/v1/runs", RUN, certificate=around.guard_certificate)[0] == 200


SUITES = ("test_agent", "test_firewall")


def test_a_second_run_changes_nothing_and_what_somebody_broke_is_named_and_nothing_else(
    installed: Installed, hosts: Hosts
) -> None:
    second = installed.playbook.run()
    before = verdicts(installed.playbook, *SUITES)
    hosts.answer(
        "trial-1",
        f"sudo chmod 0444 {SECRETS}/provider-key; sudo chmod g+w /opt/mutx-agent/current/bin;"
        " sudo usermod -s /bin/sh mutx-agent;"
        " sudo mkdir /etc/systemd/system/mutx-agent.service.d;"
        " printf '[Service]\\nNoNewPrivileges=no\\n' | sudo tee /etc/systemd/system/mutx-agent.service.d/x.conf;"
        " sudo systemctl disable -q mutx-agent; sudo systemctl daemon-reload;"
        " sudo iptables -D ufw-before-output -m owner --uid-owner 960 -j DROP",
    )

    broken = verdicts(installed.playbook, *SUITES)

    assert second.changed() == {"trial-1": 0}, second.text
    agents = {control for control in before if control.startswith("agent-")}
    assert {before[control] for control in agents | {"ufw-09"}} == {"pass"}, before
    assert {c for c, verdict in broken.items() if verdict != before[c]} == agents | {"ufw-09"}
