"""The suites' plugin: nothing is looked at unless hosts are named, and only what was seen is a verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mutx_infra.compliance.plugin import Look, NotApplicableError

from mutx_infra.evidence import Check, Verdict

ROOT = Path(__file__).parents[3]


def collect(*options: str) -> str:
    """Return what pytest says that it would run."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly", *options],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_without_hosts_this_machine_is_not_looked_at() -> None:
    assert "name them, e.g. `--hosts=ansible://all`" in collect("tests/compliance")


def test_with_hosts_each_is_looked_at_by_every_test() -> None:
    collected = collect("tests/compliance", "--hosts=ssh://acme-agent-1,ssh://acme-vault-1")

    for host in ("acme-agent-1", "acme-vault-1"):
        assert f"test_root_does_not_log_in[ssh://{host}]" in collected


def test_a_look_that_is_as_wanted_passes_and_another_fails() -> None:
    look = Look()
    look("no", wanted="no")
    assert look.is_met

    with pytest.raises(AssertionError, match="seen 'yes', wanted 'no'"):
        look("yes", wanted="no")
    assert (look.looked, look.is_met, look.seen) == (True, False, "yes")


def test_a_look_may_be_judged_by_more_than_equality() -> None:
    look = Look()
    look(3, wanted="at most 4", is_met=True)

    with pytest.raises(AssertionError):
        look(5, wanted="at most 4", is_met=False)


def test_what_does_not_apply_is_said_and_no_failure() -> None:
    look = Look()

    with pytest.raises(NotApplicableError, match="no kernel of its own"):
        look.not_applicable("no kernel of its own")

    assert not look.looked


def test_a_host_that_nobody_enters_is_not_asked_and_every_control_of_its_role_is_unknown(
    tmp_path: Path,
) -> None:
    evidence = tmp_path / "evidence.jsonl"

    subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider",
            "tests/compliance/test_ssh.py", "tests/compliance/test_redis.py",
            "--hosts=ssh://192.0.2.1", f"--evidence={evidence}", "--unseen=vault:the tenant took over",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    checks = [Check.model_validate_json(line) for line in evidence.read_text("utf-8").splitlines()]
    said = {(check.verdict, check.reason) for check in checks if check.control.startswith("ssh-")}
    others = {check.verdict for check in checks if check.control.startswith("redis-")}
    assert said == {(Verdict.UNKNOWN, "the tenant took over")}
    assert others == {Verdict.NOT_APPLICABLE}
