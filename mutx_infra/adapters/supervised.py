"""Child processes that do not outlive their parent's right to run them: supervised, time-limited, nothing inherited."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread, Timer
from typing import IO

from mutx_infra.adapters import supervise

GRACE_S = 10.0
"""How long a command may finish what it is at after it was asked to stop."""

Listener = Callable[[str], object]

_PASSED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SSH_AUTH_SOCK", "TMPDIR", "TZ", "USER")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left: its output, one string each, and its exit status (128+n after signal n)."""

    stdout: str
    stderr: str
    status: int


class SupervisedCommands:
    """Runs commands below `supervise.py`; see there for how they end.

    Args:
        limit_s: after this many seconds a command is asked to stop.
    """

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._silence_s = 0.0
        self._pipes: set[int] = set()
        self._lock = Lock()

    @contextmanager
    def bound_to_lease(self, silence_s: float) -> Iterator[Callable[[], None]]:
        """Within the context, commands end unless the yielded `beat` is called every `silence_s` seconds."""
        self._silence_s = silence_s
        try:
            yield self._beat
        finally:
            self._silence_s = 0.0

    def run(
        self,
        command: Sequence[str],
        cwd: str,
        environment: Mapping[str, str],
        on_output: Listener | None = None,
        on_error: Listener | None = None,
    ) -> Ended:
        """Run one command to its end.

        Args:
            command: the program and its arguments.
            cwd: its current directory.
            environment: the whole of its environment.
            on_output: told each line of its standard output as it comes, without the line's end.
            on_error: the same for its standard error.

        Raises:
            KeyboardInterrupt: after Ctrl-C, once the command has ended by itself.
        """
        lifeline, beat = os.pipe()
        supervised = [
            sys.executable, "-I", "-S", supervise.__file__, str(lifeline), str(self._silence_s), str(GRACE_S), "--",
            *command,
        ]  # fmt: skip
        with self._lock:
            self._pipes.add(beat)
        try:
            with subprocess.Popen(
                supervised, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=cwd, env=dict(environment), encoding="utf-8", errors="replace", pass_fds=(lifeline,),
            ) as process:  # fmt: skip
                return self._follow(process, on_output, on_error)
        finally:
            with self._lock:
                self._pipes.discard(beat)
            os.close(beat)
            os.close(lifeline)

    def _follow(
        self, process: subprocess.Popen[str], on_output: Listener | None, on_error: Listener | None
    ) -> Ended:
        assert process.stdout is not None  # noqa: S101 - both were asked for
        assert process.stderr is not None  # noqa: S101
        out: list[str] = []
        err: list[str] = []
        readers = [
            Thread(target=_drain, args=(process.stdout, out, on_output), daemon=True),
            Thread(target=_drain, args=(process.stderr, err, on_error), daemon=True),
        ]
        for reader in readers:
            reader.start()
        timed_out = Event()
        limit = Timer(self._limit_s, _stop, (process, timed_out))
        limit.daemon = True
        limit.start()
        try:
            status = _wait(process)
        finally:
            limit.cancel()
            for reader in readers:
                reader.join()
        if timed_out.is_set():
            err.append(f"error: stopped after the time limit of {self._limit_s:.0f} s")
        return Ended("\n".join(out), "\n".join(err), status)

    def _beat(self) -> None:
        with self._lock:
            for pipe in self._pipes:
                os.write(pipe, b".")


def tool_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of Ansible and pytest: named parts of ours, our own interpreter's programs first."""
    passed = {name: variables[name] for name in _PASSED if name in variables}
    return {**passed, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{passed.get('PATH', os.defpath)}"}


def is_at_work(directory: str) -> bool:
    """Say whether a supervisor of this machine has `directory`, or one below it, for its current directory."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if (process / "cwd").readlink().is_relative_to(directory) and b"supervise.py" in (
                    process / "cmdline"
                ).read_bytes():
                    return True
            except OSError:
                continue
    return False


def _drain(stream: IO[str], lines: list[str], callback: Listener | None) -> None:
    with stream:
        for line in stream:
            lines.append(line.rstrip())
            if callback:
                callback(lines[-1])


def _stop(process: subprocess.Popen[str], timed_out: Event) -> None:
    timed_out.set()
    process.send_signal(signal.SIGINT)


def _wait(process: subprocess.Popen[str]) -> int:
    """Wait; on Ctrl-C let the command finish what it is at first, then let the interrupt through."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
