"""A judge on a real host, by llama.cpp's server in vLLM's place: refusals, release, model, unit, key, and its end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import make_checkout
from tests.support.judges import HARMLESS, JAILBREAK, build_judge, write_model
from tests.support.machines import Hosts
from tests.support.playbook import Outcome, Playbook
from tests.support.suites import verdicts

MODEL = "Qwen/Qwen3Guard-Gen-0.6B"
ONLY_THE_JUDGE = ("--start-at-task", "Run the language model that judges")
"""Of the guard's roles; the guardrail, which comes after it, is given nothing and says so."""
MOST_EXPOSED = 3.0
PROGRAM = "/usr/libexec/mutx/mutx-judge"
READY = f"sudo {PROGRAM} ready --key-file /etc/mutx-judge/key --port 8000 --model {MODEL}"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    made = Hosts(make_checkout(tmp_path_factory.mktemp("judge") / "check out"))
    made.up("1")
    yield made
    made.checkout.run("sandbox", "down")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an operator and the inventory tell the role."""
    folder = tmp_path_factory.mktemp("delivered")
    wheel, lock = build_judge(folder)
    files, manifest = write_model(folder / "model", JAILBREAK)
    return {
        "ansible_become": True, "mutx_role": "guard",
        "judge_model": MODEL, "judge_wheel": str(wheel), "judge_lock": str(lock), "judge_command": "mutx-judge-trial",
        "judge_model_files": str(files), "judge_model_manifest": str(manifest),
        "judge_gpu": False, "judge_context": 8192, "judge_memory_max": "2G", "judge_start_limit_s": 60,
    }  # fmt: skip


@pytest.fixture(scope="module")
def playbook(hosts: Hosts, told: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    return Playbook(hosts, ("trial-1",), tmp_path_factory.mktemp("playbook"), told, group="guard")


@pytest.fixture(scope="module")
def refused(playbook: Playbook, hosts: Hosts, told: dict[str, Any]) -> dict[str, Outcome]:
    """What is said where something is missing, before anything was installed."""
    tampered = Path(told["judge_model_manifest"]).with_name("tampered.sha256")
    tampered.write_text(f"{'0' * 64}  judge.gguf\n", "utf-8")
    pickled = tampered.with_name("pickled.sha256")
    pickled.write_text(f"{'0' * 64}  pytorch_model.bin\n", "utf-8")
    gone = tampered.with_name("gone.sha256")
    gone.write_text(f"{'0' * 64}  model-00002-of-00002.safetensors\n", "utf-8")
    cases: dict[str, dict[str, Any]] = {
        "judge-release": {"judge_lock": ""},
        "judge-gpu": {"judge_gpu": True},
        "judge-model-missing": {"judge_model_manifest": ""},
        "judge-model-missing file": {"judge_model_manifest": str(gone)},
        "judge-model-hash": {"judge_model_manifest": str(tampered)},
        "judge-model-format": {"judge_model_manifest": str(pickled)},
    }
    return {case: playbook.run(*ONLY_THE_JUDGE, **changes) for case, changes in cases.items()}


@pytest.fixture(scope="module")
def installed(refused: dict[str, Outcome], playbook: Playbook, hosts: Hosts) -> Outcome:
    first = playbook.run(*ONLY_THE_JUDGE)
    assert first.status == 0, first.text + hosts.answer(
        "trial-1", "sudo journalctl -u mutx-judge -n 40 --no-pager"
    )
    return first


def journal(hosts: Hosts) -> str:
    return hosts.answer("trial-1", "sudo journalctl -u mutx-judge -o cat --no-pager")


@pytest.mark.parametrize(
    "case",
    [
        "judge-release",
        "judge-gpu",
        "judge-model-missing",
        "judge-model-missing file",
        "judge-model-hash",
        "judge-model-format",
    ],
)
def test_what_cannot_be_had_is_refused_by_name_and_no_unit_is_made(
    refused: dict[str, Outcome], case: str
) -> None:
    outcome = refused[case]

    assert outcome.status != 0
    assert f"[{case.partition(' ')[0]}]" in outcome.text
    assert not [r for r in outcome.results if r.get("changed") and "Install settings and unit" in r["task"]]


def test_a_judge_answers_who_has_the_key_on_loopback_and_its_key_is_nowhere_else(
    installed: Outcome, hosts: Hosts
) -> None:
    key = hosts.answer("trial-1", "sudo cat /etc/mutx-judge/key")

    seen = json.loads(hosts.answer("trial-1", READY))

    assert seen == {"models": [MODEL], "status": "ready"}
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", key)
    assert key not in hosts.answer("trial-1", "ps axww -o args")
    assert key not in journal(hosts)
    assert hosts.ssh(
        "trial-1", f"{PROGRAM} ready --key-file /etc/mutx-judge/key --port 8000 --model m"
    ).returncode
    listens = hosts.answer("trial-1", "ss -ltnH '( sport = :8000 )'")
    assert listens.split()[3] == "127.0.0.1:8000"


def test_a_second_run_changes_nothing_and_what_somebody_broke_is_named(
    installed: Outcome, playbook: Playbook, hosts: Hosts
) -> None:
    second = playbook.run(*ONLY_THE_JUDGE)
    before = verdicts(playbook, "test_judge")
    hosts.answer(
        "trial-1",
        "sudo chmod 0444 /etc/mutx-judge/key; sudo usermod -s /bin/sh mutx-judge;"
        " sudo sh -c 'for file in /opt/mutx-judge/models/*/judge.gguf; do echo x >>$file; done';"
        " sudo systemctl disable -q --now mutx-judge",
    )

    broken = verdicts(playbook, "test_judge")

    assert second.changed() == {"trial-1": 0}, second.text
    assert before == dict.fromkeys((f"judge-{number:02}" for number in range(2, 7)), "pass")
    assert {control for control, verdict in broken.items() if verdict == "fail"} == set(before)


def test_a_model_that_was_changed_on_the_host_is_not_served(installed: Outcome, hosts: Hosts) -> None:
    started = hosts.ssh("trial-1", "sudo systemctl start mutx-judge")

    assert started.returncode != 0
    assert "error[judge-model-hash]" in journal(hosts)
    assert "is not the file that was installed; nothing was started" in journal(hosts)


def test_systemd_rates_the_unit_as_little_exposed(installed: Outcome, hosts: Hosts) -> None:
    rated = hosts.answer("trial-1", "systemd-analyze security mutx-judge --no-pager | tail -1")

    found = re.search(r"exposure level for mutx-judge.service: ([0-9.]+)", rated)
    assert found, rated
    assert float(found[1]) <= MOST_EXPOSED


def test_another_model_takes_the_place_of_the_one_before(
    installed: Outcome, playbook: Playbook, hosts: Hosts, tmp_path: Path
) -> None:
    files, manifest = write_model(tmp_path / "model", HARMLESS)
    newer = {"judge_model_files": str(files), "judge_model_manifest": str(manifest)}
    before = hosts.answer("trial-1", "ls /opt/mutx-judge/models").split()
    other = replace(playbook, variables={**playbook.variables, **newer})

    outcome = other.run(*ONLY_THE_JUDGE)

    assert outcome.status == 0, outcome.text
    after = hosts.answer("trial-1", "ls -A /opt/mutx-judge/models").split()
    assert (len(before), len(after)) == (1, 1)
    assert before != after
    assert json.loads(hosts.answer("trial-1", READY))["status"] == "ready"
    assert other.run(*ONLY_THE_JUDGE).changed() == {"trial-1": 0}


def test_a_tenant_without_a_judge_has_none_afterwards(
    installed: Outcome, playbook: Playbook, hosts: Hosts
) -> None:
    ended = playbook.run(*ONLY_THE_JUDGE, judge_model="")
    again = playbook.run(*ONLY_THE_JUDGE, judge_model="")

    assert (ended.status, again.changed()) == (0, {"trial-1": 0}), ended.text
    assert "[judge-none]" in ended.said()
    assert hosts.ssh("trial-1", "systemctl is-active mutx-judge").stdout.strip() == "inactive"
    assert hosts.answer("trial-1", "sudo find /etc/mutx-judge /etc/systemd -name '*judge*' -o -name key") == (
        "/etc/mutx-judge"
    )
