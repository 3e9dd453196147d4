"""The supervisor: whatever happens to the parent, the command and all that it started end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from mutx_infra.adapters import supervise
from tests.support.processes import ends

GRACE_S = 0.5
STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
POLITE = """
import os, signal, sys, time
def stop(*_): os.write(1, b"saved\\n"); sys.exit(7)
signal.signal(signal.SIGINT, stop); os.write(1, b"up\\n"); time.sleep(60)
"""
# A plugin that left its parent's process group and session, as Pulumi's do.
WITH_PLUGIN = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True); time.sleep({seconds})
"""


@dataclass
class Supervised:
    process: subprocess.Popen[str]
    beat: int

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close_lifeline(self) -> None:
        os.close(self.beat)
        self.beat = -1


Start = Callable[..., Supervised]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Supervised] = []

    def run(program: str, silence_s: float = 0) -> Supervised:
        lifeline, beat = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", supervise.__file__, str(lifeline), str(silence_s), str(GRACE_S), "--",
             sys.executable, "-I", "-S", "-c", program],
            pass_fds=(lifeline,), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.close(lifeline)
        started.append(Supervised(process, beat))
        return started[-1]

    yield run
    for supervised in started:
        if supervised.beat >= 0:
            os.close(supervised.beat)
        supervised.process.kill()
        supervised.process.communicate()


@pytest.mark.parametrize(
    ("program", "status"),
    [("raise SystemExit(0)", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 128 + 9)],
)
def test_the_commands_exit_status_is_passed_on(start: Start, program: str, status: int) -> None:
    assert start(program).process.wait(10) == status


def test_a_closed_lifeline_lets_the_command_finish_its_work(start: Start) -> None:
    supervised = start(POLITE)
    assert supervised.line() == "up"

    supervised.close_lifeline()

    assert supervised.line() == "saved"
    assert supervised.process.wait(10) == 7


def test_a_command_that_does_not_listen_is_killed_after_its_grace(start: Start) -> None:
    supervised = start(STUBBORN)
    assert supervised.line() == "up"

    supervised.close_lifeline()

    assert supervised.process.wait(10) == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_as_ctrl_c(start: Start, number: signal.Signals) -> None:
    supervised = start(POLITE)
    assert supervised.line() == "up"

    supervised.process.send_signal(number)

    assert supervised.process.wait(10) == 7


def test_silence_ends_the_command(start: Start) -> None:
    supervised = start(POLITE, silence_s=0.3)

    assert supervised.process.wait(10) == 7


def test_beats_keep_the_command_alive(start: Start) -> None:
    supervised = start(POLITE, silence_s=0.7)

    for _ in range(6):
        os.write(supervised.beat, b".")
        time.sleep(0.2)

    assert supervised.process.poll() is None


def test_a_plugin_outside_of_the_process_group_does_not_outlive_the_command(start: Start) -> None:
    supervised = start(WITH_PLUGIN.format(seconds=0))
    plugin = int(supervised.line())

    supervised.process.wait(10)

    assert ends(plugin)


def test_a_plugin_does_not_outlive_the_parent(start: Start) -> None:
    supervised = start(WITH_PLUGIN.format(seconds=60))
    plugin = int(supervised.line())

    supervised.close_lifeline()

    supervised.process.wait(10)
    assert ends(plugin)


def test_the_command_dies_with_a_killed_supervisor(start: Start) -> None:
    supervised = start("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    command = int(supervised.line())

    supervised.process.kill()

    assert ends(command)
