"""Engine commands: their environment, their output, their time limit and Ctrl-C; the engine is a script here."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from pulumi.automation import CommandError

from mutx_infra.adapters.engine_command import SupervisedEngine

SCRIPT = """import json, os, signal, sys, time
command = sys.argv[2]
if command == "environment":
    print(json.dumps(sorted(os.environ)))
elif command == "fail":
    sys.stderr.write("error: no such thing\\n"); sys.exit(255)
elif command == "sleep":
    signal.signal(signal.SIGINT, lambda *_: sys.exit(1)); time.sleep(60)
elif command == "talk":
    print("one"); print("two"); sys.stderr.write("three\\n")
else:
    print(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def engine(tmp_path: Path) -> SupervisedEngine:
    return make_engine(tmp_path)


def make_engine(directory: Path, limit_s: float = 60) -> SupervisedEngine:
    program, script = directory / "program.py", directory / "pulumi"
    program.write_text(SCRIPT)
    # By way of a shell: a `#!` line cannot name an interpreter whose path holds a space.
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
    script.chmod(0o755)
    return SupervisedEngine(script, "3.259.0", {"PATH": "/bin"}, limit_s=limit_s)


def test_a_command_gets_its_environment_and_no_other(
    engine: SupervisedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAY", "1")

    seen = engine.run(["environment"], str(tmp_path), {"PULUMI_HOME": "/home"}).stdout

    assert "STRAY" not in seen
    assert {"PATH", "PULUMI_HOME", "PULUMI_AUTOMATION_API"} <= set(
        seen.strip("[]").replace('"', "").split(", ")
    )


def test_a_command_never_asks(engine: SupervisedEngine, tmp_path: Path) -> None:
    assert "--non-interactive" in engine.run(["up"], str(tmp_path), {}).stdout


def test_output_is_passed_on_as_it_comes(engine: SupervisedEngine, tmp_path: Path) -> None:
    out: list[str] = []
    err: list[str] = []

    result = engine.run(["talk"], str(tmp_path), {}, out.append, err.append)

    assert (out, err) == (["one", "two"], ["three"])
    assert (result.stdout, result.stderr, result.code) == ("one\ntwo", "three", 0)


def test_a_failure_carries_what_the_engine_said(engine: SupervisedEngine, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no such thing"):
        engine.run(["fail"], str(tmp_path), {})


def test_a_command_over_its_time_limit_is_stopped_and_says_so(tmp_path: Path) -> None:
    engine = make_engine(tmp_path, limit_s=0.5)
    begun = time.monotonic()

    with pytest.raises(CommandError, match="stopped after the time limit of 0 s"):
        engine.run(["sleep"], str(tmp_path), {})

    assert time.monotonic() - begun < 10


def test_a_command_ends_when_the_lease_is_not_renewed(engine: SupervisedEngine, tmp_path: Path) -> None:
    begun = time.monotonic()

    with engine.bound_to_lease(0.3), pytest.raises(CommandError):
        engine.run(["sleep"], str(tmp_path), {})

    assert time.monotonic() - begun < 10
