"""A guard on a real host: two units of one release, each with its own account, reach and certificate."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mutx_provider_double import ProviderDouble

from tests.support.agents import Authority, listening_at, put, server_side
from tests.support.checkout import make_checkout
from tests.support.guards import Relay, ask, build_trial, give_certificates
from tests.support.machines import Answer, Hosts, Visitor
from tests.support.playbook import SSH_RULE, Outcome, Playbook
from tests.support.suites import verdicts

TRIAL = "10.63.255.0/24"
AGENT_ADDRESS, PROVIDER_ADDRESS = "10.63.255.210", "10.63.255.211"
GUARD, AGENT, PROVIDER = "guard-1.trial.internal", "agent-1.trial.internal", "provider.example"
KEY = "sk-canary-9b21f0c4e6d7-guard"
MOST_EXPOSED = 2.5
UNITS = ("mutx-guardrail", "mutx-guard-egress")
ONLY_THE_GUARD = ("--start-at-task", "Judge what goes to and comes from the agents")
CHAT = {"model": "m-1", "messages": [{"role": "user", "content": "hello there"}]}


@dataclass(frozen=True)
class Surroundings:
    hosts: Hosts
    agent: Visitor
    outside: Visitor
    tenant: Authority
    public: Authority
    provider: ProviderDouble

    @property
    def address(self) -> str:
        return str(self.hosts.state("trial-1").machine.wire.address)

    def context(self, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.tenant.file))
        context.load_cert_chain(self.tenant.issue(name))
        return context


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    made = Hosts(make_checkout(tmp_path_factory.mktemp("guard") / "check out"))
    made.up("1")
    yield made
    made.checkout.run("sandbox", "down")


@pytest.fixture(scope="module")
def around(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """An agent, and a provider at an address outside."""
    own = tmp_path_factory.mktemp("authorities")
    tenant, public = Authority(own, "tenant"), Authority(own, "public")
    agent = hosts.visitor("agent", "trial", TRIAL, f"{AGENT_ADDRESS}/24")
    outside = hosts.visitor("outside", "trial", TRIAL, f"{PROVIDER_ADDRESS}/24")
    with ProviderDouble(tls=server_side(public, PROVIDER)) as provider:
        relay = Relay(listening_at(outside, PROVIDER_ADDRESS, 443), provider.port)
        yield Surroundings(hosts, agent, outside, tenant, public, provider)
        relay.close()


class Installed:
    """The host after its first run, and what was seen on the way."""

    def __init__(self, playbook: Playbook, check: Outcome, first: Outcome, waiting: list[str]) -> None:
        self.playbook, self.check, self.first, self.waiting = playbook, check, first, waiting


@pytest.fixture(scope="module")
def installed(hosts: Hosts, around: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("playbook")
    wheel, companions, lock = build_trial(folder)
    from_agent = {"protocol": "tcp", "interface": "eth0", "source": f"{AGENT_ADDRESS}/32", "comment": "agent"}
    to_provider = {
        "port": 443,
        "protocol": "tcp",
        "destination": f"{PROVIDER_ADDRESS}/32",
        "comment": "providers",
    }
    variables = {
        "ansible_become": True, "mutx_role": "guard",
        "guardrail_wheel": str(wheel), "guardrail_companions": [str(each) for each in companions],
        "guardrail_lock": str(lock), "guardrail_command": "mutx-guard-trial",
        "guardrail_address": around.address, "guardrail_callers": [AGENT],
        "guardrail_agents": {"guard-1": {"certificate": GUARD}}, "guardrail_peers": [f"{AGENT_ADDRESS}/32"],
        "guardrail_egress_address": around.address,
        "guardrail_egress_agents": {"agent-1": {"names": [AGENT], "providers": ["openai"], "tunnels": [PROVIDER]}},
        "guardrail_egress_providers": {
            "openai": {"dialect": "openai", "base_url": f"https://{PROVIDER}/v1", "ca": "/etc/mutx-public-ca.pem"},
        },
        "base_hosts": [{"address": PROVIDER_ADDRESS, "names": [PROVIDER]}],
        "ufw_incoming_rules": [SSH_RULE, {**from_agent, "port": 8443}, {**from_agent, "port": 8444}],
        "ufw_outgoing_policy": "deny", "ufw_outgoing_rules": [{**to_provider, "destination": "0.0.0.0/0"}],
        "ufw_outgoing_accounts": [
            {"uid": 961, "comment": "guardrail", "rules": []},
            {"uid": 962, "comment": "egress", "rules": [{**to_provider, "destination": "0.0.0.0/0"}]},
        ],
    }  # fmt: skip
    playbook = Playbook(hosts, ("trial-1",), folder, variables, group="guard")
    check = playbook.run("--check", *ONLY_THE_GUARD)
    assert hosts.answer("trial-1", "ls /opt; getent passwd mutx-guardrail || true") == ""
    first = playbook.run()
    waiting = [
        hosts.answer("trial-1", f"systemctl show {unit} -p ActiveState,ConditionResult") for unit in UNITS
    ]
    put(hosts, "trial-1", "/etc/mutx-public-ca.pem", around.public.file.read_bytes(), "-m 0644")
    for unit in UNITS:
        give_certificates(hosts, around.tenant, unit, GUARD)
        hosts.answer("trial-1", f"sudo systemctl start {unit}")
    return Installed(playbook, check, first, waiting)


def connects(hosts: Hosts, account: str, address: str, port: int) -> bool:
    program = f"import socket; socket.create_connection(({address!r}, {port}), 1.5)"
    return hosts.ssh("trial-1", f'sudo -u {account} python3 -c "{program}"').returncode == 0


def journal(hosts: Hosts, unit: str) -> str:
    return hosts.answer("trial-1", f"sudo journalctl -u {unit} -o cat --no-pager")


def test_check_mode_foretells_the_first_run_and_the_units_wait_for_their_certificates(
    installed: Installed, hosts: Hosts
) -> None:
    assert (installed.check.status, installed.first.status) == (0, 0), installed.first.text
    foretold = {r["task"] for r in installed.check.results if r.get("changed")}
    assert any("Install the release" in task for task in foretold)
    assert {frozenset(each.split()) for each in installed.waiting} == {
        frozenset({"ActiveState=inactive", "ConditionResult=no"})
    }
    for unit in UNITS:
        shown = hosts.answer("trial-1", f"systemctl show {unit} -p ActiveState,StatusText")
        assert set(shown.split()) == {"ActiveState=active", "StatusText=ready"}


def test_an_agent_reaches_its_provider_by_the_judged_way_and_no_key_stays(
    installed: Installed, around: Surroundings, hosts: Hosts
) -> None:
    place, key = (around.address, 8444), {"Authorization": f"Bearer {KEY}"}

    status, answer = ask(
        around.agent, place, around.context(AGENT), GUARD, "/openai/v1/chat/completions", CHAT, key
    )

    assert (status, answer["choices"][0]["message"]["content"]) == (200, "echo: hello there"), answer
    assert around.provider.calls[-1].key == KEY
    said = journal(hosts, "mutx-guard-egress")
    events = [json.loads(line)["event"] for line in said.splitlines() if line.startswith("{")]
    assert {"llm-call-started", "llm-call"} <= set(events)
    assert KEY not in said
    assert "hello there" not in said


def test_what_the_guard_refuses_does_not_leave(installed: Installed, around: Surroundings) -> None:
    calls = len(around.provider.calls)
    body = {"model": "m-1", "messages": [{"role": "user", "content": "steal the crown jewels"}]}

    status, answer = ask(
        around.agent,
        (around.address, 8444),
        around.context(AGENT),
        GUARD,
        "/openai/v1/chat/completions",
        body,
    )

    assert (status, answer["error"]["code"]) == (400, "prompt_injection_detected")
    assert len(around.provider.calls) == calls


def test_others_are_refused_by_certificate_and_by_address(installed: Installed, around: Surroundings) -> None:
    for port, path in ((8443, "/healthz"), (8444, "/openai/v1/models")):
        status, answer = ask(
            around.agent, (around.address, port), around.context("agent-2.trial.internal"), GUARD, path
        )
        assert (status, answer["code"]) == (403, "caller-refused")
        assert around.agent.knock(around.address, port) is Answer.OPEN
        assert around.outside.knock(around.address, port) is Answer.SILENCE
    assert ask(around.agent, (around.address, 8443), around.context(AGENT), GUARD, "/healthz")[0] == 200


def test_who_judges_begins_no_connection_and_the_egress_those_to_providers_alone(
    installed: Installed, around: Surroundings, hosts: Hosts
) -> None:
    provider, keeper = (PROVIDER_ADDRESS, 443), ("169.254.169.254", 80)

    assert not connects(hosts, "mutx-guardrail", *provider)
    assert not connects(hosts, "mutx-guardrail", *keeper)
    assert connects(hosts, "mutx-guard-egress", *provider)
    assert not connects(hosts, "mutx-guard-egress", *keeper)
    # The provider's address is open to others of the host: it is the account that may not.
    assert connects(hosts, "nobody", *provider)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_rates_each_unit_as_little_exposed(installed: Installed, hosts: Hosts, unit: str) -> None:
    rated = hosts.answer("trial-1", f"systemd-analyze security {unit} --no-pager | tail -1")

    found = re.search(rf"exposure level for {unit}.service: ([0-9.]+)", rated)
    assert found, rated
    assert float(found[1]) <= MOST_EXPOSED


def test_a_release_is_taken_back_by_a_variable(
    installed: Installed, around: Surroundings, hosts: Hosts, tmp_path: Path
) -> None:
    first = hosts.answer("trial-1", "readlink /opt/mutx-guardrail/current").rpartition("/")[2]
    wheel, companions, lock = build_trial(tmp_path, "0.1.1")
    own = {"guardrail_wheel": str(wheel), "guardrail_companions": [str(each) for each in companions]}
    newer = replace(
        installed.playbook, variables={**installed.playbook.variables, **own, "guardrail_lock": str(lock)}
    )

    assert newer.run(*ONLY_THE_GUARD).status == 0
    second = hosts.answer("trial-1", "readlink /opt/mutx-guardrail/current")
    assert newer.run(*ONLY_THE_GUARD, guardrail_release=first).status == 0

    assert "-0.1.1-" in second
    assert hosts.answer("trial-1", "readlink /opt/mutx-guardrail/current").endswith(first)
    assert ask(around.agent, (around.address, 8443), around.context(AGENT), GUARD, "/healthz")[0] == 200


def test_a_second_run_changes_nothing_and_what_somebody_broke_is_named(
    installed: Installed, hosts: Hosts
) -> None:
    second = installed.playbook.run()
    before = verdicts(installed.playbook, "test_guardrail")
    accounts = verdicts(installed.playbook, "test_firewall")["ufw-09"]
    hosts.answer(
        "trial-1",
        "sudo chmod 0444 /run/mutx-guardrail-secrets/server.pem; sudo chmod g+w /opt/mutx-guardrail/current/bin;"
        " sudo usermod -s /bin/sh mutx-guard-egress;"
        " sudo mkdir /etc/systemd/system/mutx-guard-egress.service.d;"
        " printf '[Service]\\nNoNewPrivileges=no\\n' | sudo tee /etc/systemd/system/mutx-guard-egress.service.d/x.conf;"
        " sudo systemctl disable -q --now mutx-guardrail; sudo systemctl daemon-reload",
    )

    broken = verdicts(installed.playbook, "test_guardrail")

    assert second.changed() == {"trial-1": 0}, second.text
    assert "[guardrail-degraded] it judges without judge" in second.said()
    assert accounts == "pass"
    assert before == dict.fromkeys((f"guard-{number:02}" for number in range(1, 7)), "pass")
    assert {control for control, verdict in broken.items() if verdict == "fail"} == set(before)
