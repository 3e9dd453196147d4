"""Processes that outlive their starter: known by pid and start time, so that a reused pid is never mistaken for one."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from mutx_infra.errors import OutsideError

_POLL_S = 0.02
_TERM_S = 5.0
_KILL_S = 5.0
_START_TIME_FIELD = 19
"""Position of `starttime` in /proc/PID/stat, counted after the command's closing parenthesis (proc(5))."""


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A started process, as it is written down.

    Attributes:
        name: what it serves.
        pid: its process id.
        started: boot id and start time in clock ticks, as one text.
        port: where it listens on 127.0.0.1.
        log: its standard error.
    """

    name: str
    pid: int
    started: str
    port: int
    log: str

    @property
    def is_alive(self) -> bool:
        """True while this very process runs; a zombie counts as ended."""
        return start_of(self.pid) == self.started


def start_of(pid: int) -> str | None:
    """Return what tells a process from a later one of the same pid, or None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rsplit(")", 1)[1].split()
    if fields[0] in {"Z", "X"}:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return f"{boot}/{fields[_START_TIME_FIELD]}"


def start_server(name: str, command: Sequence[str], log: Path, *, timeout_s: float) -> ProcessRecord:
    """Start a detached server that prints its port, and wait for that line.

    Raises:
        OutsideError: it ended, or said nothing in time; the message ends with its log's last line.
    """
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    port = _read_port(process, timeout_s)
    if port is None:
        _kill_child(process)
        raise OutsideError(
            f"the sandbox's {name} did not start",
            code="sandbox-start-failed",
            detail=_last_line(log),
            remedy=f"see {log}, then run `mutx-infra sandbox up` again",
        )
    started = start_of(process.pid) or ""
    # The child belongs to nobody from here on; Popen must not warn about it.
    process.returncode = 0
    return ProcessRecord(name, process.pid, started, port, str(log))


def end(records: Sequence[ProcessRecord]) -> None:
    """End these processes and no others: politely first, then not, and return when they are gone."""
    alive = [record for record in records if record.is_alive]
    for record in alive:
        _signal(record, signal.SIGTERM)
    if not _wait_until_gone(alive, _TERM_S):
        for record in alive:
            _signal(record, signal.SIGKILL)
        _wait_until_gone(alive, _KILL_S)


def exit_with_parent() -> None:
    """End this process soon after the one that started it: an engine that is killed cannot tell its plugins."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    Thread(target=watch, name="parent", daemon=True).start()


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this package with this interpreter, whatever the directory."""
    return [sys.executable, "-P", "-m", module, *arguments]


def _environment() -> dict[str, str]:
    kept = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONDONTWRITEBYTECODE": "1"}


def _read_port(process: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    assert process.stdout is not None  # noqa: S101 - asked for
    with process.stdout, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(timeout_s):
            return None
        line = process.stdout.readline().decode("ascii", "replace").strip()
    return int(line) if line.isdigit() else None


def _kill_child(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()


def _signal(record: ProcessRecord, number: signal.Signals) -> None:
    if record.is_alive:
        with suppress(ProcessLookupError):
            os.kill(record.pid, number)


def _wait_until_gone(records: Sequence[ProcessRecord], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while any(record.is_alive for record in records):
        for record in records:
            # Ours only if this very process started them (tests do); else init reaps them.
            with suppress(ChildProcessError):
                os.waitpid(record.pid, os.WNOHANG)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
