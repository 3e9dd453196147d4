"""The tiers: every test lies in one, each has a budget, and what runs at once is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import run_tests
from run_tests import TIERS, Tier, machine_factor, over_budget, pytest_arguments

TESTS = Path(__file__).resolve().parents[2]


def files_of(tier: Tier) -> list[Path]:
    """The test files that pytest is pointed at, by the arguments themselves."""
    arguments = pytest_arguments(tier, full=False)
    roots = [TESTS.parent / word for word in arguments if word.startswith("tests/")]
    ignored = [TESTS.parent / word.partition("=")[2] for word in arguments if word.startswith("--ignore=")]
    found = [file for root in roots for file in root.rglob("test_*.py")]
    return [file for file in found if not any(file.is_relative_to(path) for path in ignored)]


def test_every_test_file_lies_in_one_tier():
    chosen = [file for tier in TIERS.values() for file in files_of(tier)]

    # The compliance suites are no tests of ours: they look at hosts (`--hosts`).
    ours = {
        file for file in TESTS.rglob("test_*.py") if "compliance" not in file.relative_to(TESTS).parts[:1]
    }
    assert sorted(chosen) == sorted(ours)


@pytest.mark.parametrize(("processors", "workers"), [(1, None), (2, "2"), (64, str(run_tests.MOST_WORKERS))])
def test_a_parallel_tier_has_a_worker_for_each_processor(processors: int, workers: str | None) -> None:
    arguments = pytest_arguments(Tier(("system",), 1), full=False, processors=processors)

    assert ("--numprocesses" in arguments) is (workers is not None)
    assert workers is None or arguments[arguments.index("--numprocesses") + 1] == workers


def test_a_tier_over_its_budget_is_told_and_a_slower_machine_may_stretch_it():
    tier = Tier(("system",), budget_s=100)

    assert over_budget(tier, 99, 1) is None
    assert over_budget(tier, 150, 2) is None
    assert over_budget(tier, 150, 1) == "took 150 s of processor time, may take 100 s"


def test_a_machine_is_as_slow_as_it_is_said_to_be_or_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine_factor({run_tests.TIME_FACTOR_VARIABLE: "3"}) == 3
    for took_s, factor in ((0.36, 3.0), (0.05, 1.0)):
        monkeypatch.setattr(run_tests, "_loop_s", lambda took_s=took_s: took_s)
        assert machine_factor({}) == pytest.approx(factor)


def run_unit_tier(checkout: Path, *options: str, factor: str) -> subprocess.CompletedProcess[str]:
    """Run the tool on a checkout whose unit tier has one test."""
    (checkout / "tools").mkdir()
    for name in ("run_tests.py", "console.py"):
        (checkout / "tools" / name).write_text((TESTS.parent / "tools" / name).read_text())
    (checkout / "tests" / "unit").mkdir(parents=True)
    (checkout / "tests" / "unit" / "test_it.py").write_text("def test_it(): pass\n")
    profile = "from hypothesis import settings\nsettings.register_profile('full')\n"
    (checkout / "tests" / "conftest.py").write_text(profile)
    (checkout / "pytest.ini").write_text("[pytest]\nmarkers =\n  full: f\n")
    return subprocess.run(
        [sys.executable, "tools/run_tests.py", "--tier", "unit", *options, "--", "-p", "no:cacheprovider"],
        cwd=checkout, env={"MUTX_TEST_TIME_FACTOR": factor}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_run_over_budget_fails_with_a_hint_after_pytest_s_own_words(tmp_path: Path) -> None:
    done = run_unit_tier(tmp_path, factor="0.000001")

    assert done.returncode == 1
    assert "1 passed" in done.stdout
    assert "error[over-budget]: unit: took " in done.stderr
    assert "MUTX_TEST_TIME_FACTOR=2" in done.stderr


def test_a_run_within_its_budget_and_one_of_the_long_tests_pass(tmp_path: Path) -> None:
    (tmp_path / "quick").mkdir()
    (tmp_path / "long").mkdir()

    assert run_unit_tier(tmp_path / "quick", factor="1").returncode == 0
    assert run_unit_tier(tmp_path / "long", "--full", factor="0.000001").returncode == 0
