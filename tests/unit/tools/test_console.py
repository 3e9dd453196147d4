"""Progress, and commands that are watched."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from console import Progress, render_error, run_watched, spell_duration

from tests.support.processes import ends


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_pipe_gets_a_plain_line_every_thirty_seconds():
    clock, stream = Clock(), io.StringIO()
    progress = Progress("building", stream, clock)

    progress.begin()
    for second in range(0, 75, 5):
        clock.now = second
        progress.tick("7 packages")
    progress.end("done")

    assert stream.getvalue().splitlines() == [
        "building ...",
        "building: 30 s, 7 packages",
        "building: 1 m 00 s, 7 packages",
        "building: done (1 m 10 s)",
    ]


def test_a_terminal_gets_one_rewritten_line():
    clock = Clock()
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as stream, os.fdopen(leader, "rb", buffering=0) as seen:
        progress = Progress("building", stream, clock)
        progress.begin()
        clock.now = 2
        progress.tick()
        progress.end("done")
        written = b""
        while not written.endswith(b"\n"):
            written += seen.read(4096)

    assert written.count(b"\n") == 1
    assert written.endswith(b"\r\x1b[2Kbuilding: done (2 s)\r\n")


@pytest.mark.parametrize(("seconds", "words"), [(0.9, "0 s"), (59.9, "59 s"), (189, "3 m 09 s")])
def test_durations_are_spelled(seconds, words):
    assert spell_duration(seconds) == words


def test_an_error_is_laid_out_as_the_cli_does():
    assert render_error("go-missing", "no Go", "here\n\nthere", "get it") == (
        "error[go-missing]: no Go\n  here\n  there\n  hint: get it"
    )


def watch(script: str, tmp_path: Path, **options):
    return run_watched(
        ["/bin/sh", "-c", script],
        variables={"PATH": os.environ["PATH"]},
        directory=tmp_path,
        progress=Progress("watching", io.StringIO()),
        **{"limit_s": 20, **options},
    )


def test_a_command_s_status_and_last_lines_come_back(tmp_path):
    outcome = watch("echo one; echo two >&2; exit 3", tmp_path)

    assert (outcome.status, outcome.tail) == (3, ("one", "two"))


def test_a_command_gets_no_input(tmp_path):
    assert watch("cat; exit 4", tmp_path).status == 4


def test_a_command_past_its_limit_is_ended_with_everything_it_started(tmp_path):
    outcome = watch("sleep 300 & echo $! >pid; wait", tmp_path, limit_s=1)

    assert outcome.status is None
    assert ends(int((tmp_path / "pid").read_text()))


def test_what_a_command_leaves_running_is_ended_too(tmp_path):
    outcome = watch("sleep 300 >/dev/null 2>&1 & echo $! >pid", tmp_path)

    assert outcome.status == 0
    assert ends(int((tmp_path / "pid").read_text()))


def test_the_tools_need_nothing_that_is_not_in_the_standard_library():
    tools = Path(sys.modules["console"].__file__).parent
    allowed = sys.stdlib_module_names | {"console", "mutx_infra", "places"}

    for name in ("console.py", "places.py", "set_up.py"):
        imported = {
            line.split()[1].split(".")[0]
            for line in (tools / name).read_text().splitlines()
            if line.startswith(("import ", "from "))
        }
        assert imported - allowed == set(), name
