from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mutx_infra.adapters.process import current_owner, is_alive, is_running
from mutx_infra.records import Owner


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def _owner_of(pid: int, **changes: object) -> Owner:
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return current_owner().model_copy(update={"pid": pid, "started": started, **changes})


def test_this_process_is_alive_and_says_who_it_is() -> None:
    owner = current_owner()

    assert (owner.pid, owner.host) == (os.getpid(), socket.gethostname())
    assert owner.user
    assert is_alive(owner) is True


def test_another_running_process_is_alive(child: subprocess.Popen[bytes]) -> None:
    assert is_alive(_owner_of(child.pid)) is True
    assert is_running(child.pid)


def test_a_process_that_ended_is_dead(child: subprocess.Popen[bytes]) -> None:
    owner = _owner_of(child.pid)

    child.communicate()

    assert is_alive(owner) is False
    assert not is_running(child.pid)


def test_a_zombie_is_dead(child: subprocess.Popen[bytes]) -> None:
    owner = _owner_of(child.pid)
    child.kill()
    deadline = time.monotonic() + 5
    while ") Z " not in Path(f"/proc/{child.pid}/stat").read_text() and time.monotonic() < deadline:
        time.sleep(0.005)

    assert is_alive(owner) is False
    assert not is_running(child.pid)


@pytest.mark.parametrize("changes", [{"started": 1}, {"boot_id": "another"}, {"pid": 2**22 + 1}], ids=str)
def test_a_pid_that_is_another_process_by_now_is_dead(changes: dict[str, object]) -> None:
    assert is_alive(current_owner().model_copy(update=changes)) is False


def test_a_process_of_another_host_cannot_be_told() -> None:
    assert is_alive(current_owner().model_copy(update={"host": "elsewhere"})) is None


@pytest.mark.parametrize("command", ["plain", "a b", "a) S 1 (b", "))", "(("])
def test_a_command_with_spaces_and_parentheses_is_read_right(tmp_path: Path, command: str) -> None:
    fields = ["R", *["0"] * 18, "4711", *["0"] * 30]
    (tmp_path / "17").mkdir()
    (tmp_path / "17/stat").write_text(f"17 ({command}) {' '.join(fields)}\n")
    boot = tmp_path / "sys/kernel/random"
    boot.mkdir(parents=True)
    (boot / "boot_id").write_text("b007\n")
    owner = Owner(user="ada", host=socket.gethostname(), pid=17, started=4711, boot_id="b007")

    assert is_alive(owner, tmp_path) is True
    assert is_alive(owner.model_copy(update={"started": 4712}), tmp_path) is False
