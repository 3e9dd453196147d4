"""Which process this is, and whether another one still lives: Linux's /proc, nothing else."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

from mutx_infra.records import Owner

_PROC = Path("/proc")
_DEAD_STATES = frozenset("ZXx")
"""A zombie has ended; only its parent has not asked yet (proc(5))."""


def current_owner(proc: Path = _PROC) -> Owner:
    """Return this process as the holder of a lease."""
    pid = os.getpid()
    status = _status(proc, pid)
    if status is None:
        raise RuntimeError(
            f"{proc}/{pid}/stat does not describe this process: mutx-infra needs Linux's /proc"
        )
    return Owner(user=_user(), host=socket.gethostname(), pid=pid, started=status[1], boot_id=_boot_id(proc))


def is_alive(owner: Owner, proc: Path = _PROC) -> bool | None:
    """Say whether the owner's process still runs; None where it belongs to another host.

    True only for the same pid with the same start time since the same boot: a pid that was given to another
    process, a reboot and a zombie all count as dead.
    """
    if owner.host != socket.gethostname():
        return None
    if owner.boot_id != _boot_id(proc):
        return False
    status = _status(proc, owner.pid)
    return status is not None and status[0] not in _DEAD_STATES and status[1] == owner.started


def is_running(pid: int, proc: Path = _PROC) -> bool:
    """Say whether a pid of this machine belongs to a process that has not ended."""
    status = _status(proc, pid)
    return status is not None and status[0] not in _DEAD_STATES


def _status(proc: Path, pid: int) -> tuple[str, int] | None:
    """Return state and start time (fields 3 and 22 of proc(5) `stat`), or None where no such process is."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Field 2, the command in parentheses, may hold spaces and parentheses itself: count from the last one.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _boot_id(proc: Path) -> str:
    return (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
