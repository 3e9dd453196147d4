"""What the set-up tools say, and how they watch a long step. Standard library only."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

PLAIN_LINE_EVERY_S = 30
TERMINAL_LINE_EVERY_S = 1
INTERRUPTED = 130

_PR_SET_PDEATHSIG = 1


def say(line: str, stream: TextIO | None = None) -> None:
    """Write one line to stderr: stdout is for data, and set-up has none."""
    print(line, file=stream or sys.stderr, flush=True)


def render_error(code: str, message: str, detail: str, remedy: str) -> str:
    """Lay out an error as the CLI does."""
    lines = [f"error[{code}]: {message}"]
    lines += [f"  {line}" for line in detail.splitlines() if line.strip()]
    return "\n".join([*lines, f"  hint: {remedy}"])


def spell_duration(seconds: float) -> str:
    """Spell a duration as `42 s` or `3 m 09 s`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} m {rest:02d} s" if minutes else f"{rest} s"


class Progress:
    """Says what a step does and for how long.

    A terminal gets one line that is rewritten; anything else a plain line every 30 s.
    """

    def __init__(
        self, what: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what, self._stream, self._clock = what, stream or sys.stderr, clock
        self._rewrites = self._stream.isatty()
        self._start = self._last = clock()
        self._is_line_open = False

    def begin(self) -> None:
        """Say that the step starts."""
        self._show(f"{self._what} ...")

    def tick(self, note: str = "") -> None:
        """Say how long the step has run, when it is time to."""
        now = self._clock()
        if now - self._last < (TERMINAL_LINE_EVERY_S if self._rewrites else PLAIN_LINE_EVERY_S):
            return
        self._last = now
        suffix = f", {note}" if note else ""
        self._show(f"{self._what}: {spell_duration(now - self._start)}{suffix}")

    def end(self, outcome: str) -> None:
        """Say how the step ended; nothing if it was over before anything was worth saying."""
        self._show(f"{self._what}: {outcome} ({spell_duration(self._clock() - self._start)})")
        self.close()

    def close(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._is_line_open:
            print(file=self._stream, flush=True)
            self._is_line_open = False

    def _show(self, line: str) -> None:
        if self._rewrites:
            width = os.get_terminal_size(self._stream.fileno()).columns or 80
            print(f"\r\x1b[2K{line[: width - 1]}", end="", file=self._stream, flush=True)
            self._is_line_open = True
        else:
            print(line, file=self._stream, flush=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a watched command ended.

    Attributes:
        status: its exit status; None when it ran past its time limit.
        tail: the last lines it wrote.
    """

    status: int | None
    tail: tuple[str, ...]


def run_watched(
    command: Sequence[str],
    *,
    variables: Mapping[str, str],
    directory: Path,
    progress: Progress,
    limit_s: float,
    note_of: Callable[[str], str | None] = lambda _line: None,
) -> Outcome:
    """Run a command in a process group of its own, with progress; nothing of it outlives this call.

    Args:
        command: program and arguments.
        variables: the whole environment of the command.
        directory: where it runs.
        progress: told that time passes.
        limit_s: ended after that long.
        note_of: reads each line of output; what it returns is shown with the progress.
    """
    tail: deque[str] = deque(maxlen=20)
    note = ""

    def read() -> None:
        nonlocal note
        for line in child.stdout or ():
            tail.append(line.rstrip())
            note = note_of(line) or note

    child = subprocess.Popen(
        list(command),
        env=dict(variables),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 -- no thread is running yet when the child is made
    )
    deadline = time.monotonic() + limit_s
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                status = child.wait(timeout=0.2)
                reader.join(timeout=1)
                return Outcome(status, tuple(tail))
            progress.tick(note)
        return Outcome(None, tuple(tail))
    finally:
        _end_group(child)
        # Everything that could write is gone, so the reader sees the end and the pipe can be closed.
        reader.join(timeout=5)
        if child.stdout is not None and not reader.is_alive():
            child.stdout.close()


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that `finally` clauses run, and Ctrl-C into status 130."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        yield
    except KeyboardInterrupt:
        say("\ninterrupted; nothing half-made is left, run it again to go on")
        raise SystemExit(INTERRUPTED) from None


def _die_with_parent() -> None:
    """Have the kernel end the command when this process is killed with SIGKILL (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_group(child: subprocess.Popen[str]) -> None:
    """End the command and everything it started, politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=5)
    child.wait()
