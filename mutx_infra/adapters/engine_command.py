"""The Pulumi engine as the Automation API runs it, but supervised, time-limited and in a scrubbed environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread, Timer
from typing import IO, Any

from pulumi.automation import CommandResult, PulumiCommand
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from mutx_infra.adapters import supervise

GRACE_S = 10.0
"""How long the engine may finish its calls and write its state after it was asked to stop."""


class SupervisedEngine(PulumiCommand):
    """Runs engine commands below `supervise.py`; see there for how they end.

    Args:
        path: the engine's executable.
        version: its version, without `v`.
        environment: the whole environment of every command.
        limit_s: after this many seconds a command is asked to stop.

    Attributes:
        path_variable: the PATH of every command that is not given another.
    """

    def __init__(self, path: Path, version: str, environment: Mapping[str, str], *, limit_s: float) -> None:
        # The base class would run `pulumi version` (0.14 s) and let our whole environment through.
        self.command = str(path)
        self.version = VersionInfo.parse(version)
        # Plugins that came with the engine lie beside it.
        self.path_variable = f"{path.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
        self._environment = {**environment, "PATH": self.path_variable}
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
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> CommandResult:
        """Run one command to its end.

        Raises:
            pulumi.automation.CommandError: it failed.
            KeyboardInterrupt: after Ctrl-C, once the engine has finished its calls and saved its state.
        """
        lifeline, beat = os.pipe()
        command = [
            sys.executable, "-I", "-S", supervise.__file__, str(lifeline), str(self._silence_s), str(GRACE_S), "--",
            self.command, "--non-interactive", *args,
        ]  # fmt: skip
        env = {**self._environment, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        with self._lock:
            self._pipes.add(beat)
        try:
            with subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=cwd, env=env, encoding="utf-8", errors="replace", pass_fds=(lifeline,),
            ) as process:  # fmt: skip
                result = self._follow(process, on_output, on_error)
        finally:
            with self._lock:
                self._pipes.discard(beat)
            os.close(beat)
            os.close(lifeline)
        if result.code:
            raise create_command_error(result)
        return result

    def _follow(
        self,
        process: subprocess.Popen[str],
        on_output: Callable[[str], Any] | None,
        on_error: Callable[[str], Any] | None,
    ) -> CommandResult:
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
            code = _wait(process)
        finally:
            limit.cancel()
            for reader in readers:
                reader.join()
        if timed_out.is_set():
            err.append(f"error: stopped after the time limit of {self._limit_s:.0f} s")
        return CommandResult("\n".join(out), "\n".join(err), code)

    def _beat(self) -> None:
        with self._lock:
            for pipe in self._pipes:
                os.write(pipe, b".")


def _drain(stream: IO[str], lines: list[str], callback: Callable[[str], Any] | None) -> None:
    with stream:
        for line in stream:
            lines.append(line.rstrip())
            if callback:
                callback(lines[-1])


def _stop(process: subprocess.Popen[str], timed_out: Event) -> None:
    timed_out.set()
    process.send_signal(signal.SIGINT)


def _wait(process: subprocess.Popen[str]) -> int:
    """Wait; on Ctrl-C let the engine finish the current calls first, then let the interrupt through."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
