"""The fuzzer's seeds hold for every target, and a short run of each, always the same, finds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_targets import TARGETS

HERE = Path(__file__).resolve().parents[2] / "fuzz"
SEEDS = sorted(path for path in (HERE / "corpus").glob("*/*"))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_seed_holds(seed):
    TARGETS[seed.parent.name](seed.read_bytes())


def test_every_target_has_seeds():
    assert {seed.parent.name for seed in SEEDS} == TARGETS.keys()


def test_a_target_that_fails_is_seen(monkeypatch):
    def fail(_data):
        raise AssertionError

    monkeypatch.setitem(TARGETS, "hello", fail)

    with pytest.raises(AssertionError):
        test_a_seed_holds(HERE / "corpus/hello/whole")


@pytest.mark.parametrize("target", TARGETS)
def test_a_short_run_finds_nothing(target, tmp_path):
    done = subprocess.run(
        [sys.executable, str(HERE), target, "-runs=300", "-max_total_time=5", "-seed=1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-4_000:]
    assert "Done " in done.stderr
