"""The rules of tests/conftest.py hold: no network, a clean environment, a marker by directory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_socket

HOUSE = Path(__file__).resolve().parents[2] / "conftest.py"


def test_a_unit_test_cannot_open_a_network_socket():
    # pytest-socket warns first, and warnings are errors here.
    with pytest.raises((pytest_socket.SocketBlockedError, UserWarning)):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def test_a_unit_test_can_open_a_unix_socket():
    first, second = socket.socketpair()
    first.close()
    second.close()


def test_nothing_of_the_caller_s_environment_reaches_a_test():
    strays = {name for name in os.environ if name.startswith(("AWS_", "PULUMI_", "MUTX_", "VAULT_"))}

    assert strays == {
        "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED", "MUTX_INFRA_CACHE"
    }  # fmt: skip


def run_suite(directory: Path, tier: str, body: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one test file under our conftest in a checkout of its own."""
    place = directory / "tests" / tier
    place.mkdir(parents=True)
    (directory / "tests" / "conftest.py").write_text(HOUSE.read_text())
    (place / "test_it.py").write_text(body)
    (directory / "pytest.ini").write_text(
        "[pytest]\naddopts = --import-mode=importlib --strict-markers\n"
        "markers =\n  unit: u\n  integration: i\n  full: f\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(place)],
        cwd=directory, env={**os.environ, **variables}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_test_outside_the_known_directories_is_refused(tmp_path):
    done = run_suite(tmp_path, "elsewhere", "def test_it(): pass\n")

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "belongs nowhere" in done.stdout + done.stderr


def test_the_directory_decides_the_marker(tmp_path):
    body = "def test_it(request): assert [m.name for m in request.node.iter_markers()] == ['integration']\n"

    assert run_suite(tmp_path, "system", body).returncode == 0
