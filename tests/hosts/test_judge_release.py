"""The guardrail's own release with a judge beside it, both by their roles, told by what a tenant's spec says."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from make_release import make_release

from mutx_infra.guard_hosts import GUARD_ACCOUNTS, guard_terms, guard_variables
from mutx_infra.guardrail import Family, Guardrail, Judge, Provider
from tests.support.agents import Authority
from tests.support.checkout import make_checkout
from tests.support.guards import ask, give_certificates
from tests.support.judges import JAILBREAK, build_judge, write_model
from tests.support.machines import Hosts, Visitor
from tests.support.playbook import Playbook

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

TRIAL = "10.63.255.0/24"
AGENT_ADDRESS = "10.63.255.210"
GUARD, AGENT = "trial-guard-1", "trial-agent-1"
MODEL = "Qwen/Qwen3Guard-Gen-0.6B"
THE_GUARD_S_ROLES = ("--start-at-task", "Run the language model that judges")
HARMLESS = "Which of our robots had the fewest faults this week?"
"""What every other layer lets pass: the model of the test says of every text that it breaks rules."""


@dataclass(frozen=True)
class Judged:
    hosts: Hosts
    agent: Visitor
    tenant: Authority
    playbook: Playbook

    def asks(self, text: str) -> tuple[int, dict[str, Any]]:
        """What the agent is told of a text to itself."""
        context = ssl.create_default_context(cafile=str(self.tenant.file))
        context.load_cert_chain(self.tenant.issue(AGENT))
        address = str(self.hosts.state("trial-1").machine.wire.address)
        question = {"text": text, "agent": "agent-1"}
        return ask(self.agent, (address, 8443), context, GUARD, "/v1/guard/input", question)

    def on(self, command: str) -> str:
        return self.hosts.answer("trial-1", command)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    hosts = Hosts(make_checkout(tmp_path_factory.mktemp("judged") / "check out"))
    hosts.up("1")
    tenant = Authority(tmp_path_factory.mktemp("authority"), "tenant")
    agent = hosts.visitor("agent", "trial", TRIAL, f"{AGENT_ADDRESS}/24")
    folder = tmp_path_factory.mktemp("playbook")
    release = yaml.safe_load(make_release("guardrail", folder / "told").read_text("utf-8"))
    wheel, lock = build_judge(folder)
    files, manifest = write_model(folder / "model", JAILBREAK)
    spec = Guardrail(providers=(Provider.OPENAI,), judge=Judge(model=MODEL, family=Family.QWEN3GUARD))
    terms = guard_terms(spec, is_production=True, today=datetime.now(UTC).date())
    address = str(hosts.state("trial-1").machine.wire.address)
    told = guard_variables("guard-1", GUARD, address, {"agent-1": AGENT}, [AGENT_ADDRESS], terms)
    variables = {
        "ansible_become": True, "mutx_role": "guard", "guardrail_settings": {"MAX_TEXTS": 32},
        "guardrail_judge_timeout_ms": 60_000,
        "judge_wheel": str(wheel), "judge_lock": str(lock), "judge_command": "mutx-judge-trial",
        "judge_model_files": str(files), "judge_model_manifest": str(manifest), "judge_gpu": False,
        "judge_context": 8192, "judge_memory_max": "2G", **release, **told,
    }  # fmt: skip
    playbook = Playbook(hosts, ("trial-1",), folder, variables, group="guard")
    first = playbook.run(*THE_GUARD_S_ROLES)
    assert first.status == 0, first.said()
    for unit in GUARD_ACCOUNTS:
        give_certificates(hosts, tenant, unit, GUARD)
        hosts.answer("trial-1", f"sudo systemctl start {unit} || true")
    yield Judged(hosts, agent, tenant, playbook)
    hosts.checkout.run("sandbox", "down")


def test_a_text_that_all_other_layers_let_pass_is_refused_by_the_judge(judged: Judged) -> None:
    ready = json.loads(judged.on("sudo /usr/libexec/mutx/mutx-guard-ready --within 60"))

    status, answer = judged.asks(HARMLESS)

    assert (ready["status"], ready["degraded"], ready["profile"]) == ("ready", [], "production"), ready
    assert (status, answer["allowed"], answer["reason"]) == (200, False, "prompt_injection_detected"), answer
    found = [
        finding
        for check in answer["checks"]
        if check["name"] == "prompt_injection"
        for finding in check["findings"]
    ]
    assert {(each["layer"], each["rule"]) for each in found} == {("judge", "qwen3guard: Jailbreak")}, answer
    for unit in GUARD_ACCOUNTS:
        assert judged.on(f"systemctl is-active {unit}") == "active"


def test_a_judge_that_ended_refuses_every_text_by_name_until_it_is_back(judged: Judged) -> None:
    judged.on("sudo systemctl stop mutx-judge")
    _, gone = judged.asks(HARMLESS)
    judged.on("sudo systemctl start mutx-judge")
    judged.on("sudo /usr/libexec/mutx/mutx-guard-ready --within 60")
    _, back = judged.asks(HARMLESS)

    assert (gone["allowed"], gone["reason"]) == (False, "check_unavailable"), gone
    assert back["reason"] == "prompt_injection_detected", back


def test_a_new_key_reaches_both_sides_by_the_next_run(judged: Judged) -> None:
    before = judged.on("sudo cat /etc/mutx-judge/key")
    judged.on("sudo rm /etc/mutx-judge/key")

    renewed = judged.playbook.run(*THE_GUARD_S_ROLES)
    after = judged.on("sudo cat /etc/mutx-judge/key")
    status, answer = judged.asks(HARMLESS)
    again = judged.playbook.run(*THE_GUARD_S_ROLES)

    assert renewed.status == 0, renewed.said()
    assert before != after
    assert (status, answer["reason"]) == (200, "prompt_injection_detected"), answer
    assert again.changed() == {"trial-1": 0}, again.text


def test_the_key_is_in_no_list_of_processes_no_journal_and_no_variable_of_the_guard(judged: Judged) -> None:
    key = judged.on("sudo cat /etc/mutx-judge/key")

    seen = judged.on(
        "ps axww -o args; sudo journalctl --no-pager -o cat; sudo cat /etc/mutx-guardrail/*.env;"
        " for pid in $(pgrep -u mutx-guardrail) $(pgrep -u mutx-guard-egress); do sudo cat /proc/$pid/environ; done"
    )

    assert "/run/credentials/mutx-guardrail.service/judge-key" in seen
    assert key not in seen
