"""Run a command that must not outlive its parent's right to run it. Stand-alone: standard library only.

Usage: supervise.py LIFELINE_FD SILENCE_S GRACE_S -- COMMAND...

The parent holds the writing end of a pipe and writes a byte whenever its lease was renewed. When the pipe
closes (the parent died, however) or stays silent for SILENCE_S (the lease may be lost; 0: never), the command
is asked to stop as by Ctrl-C, and after GRACE_S it and every descendant are killed. The supervisor adopts
orphaned descendants, so that plugins which moved to a process group of their own do not escape.

SIGINT and SIGTERM are passed on as SIGINT. Exit status: the command's, 128+n where signal n ended it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main(arguments: list[str]) -> int:
    """Run the command to its end and return the exit status to pass on."""
    lifeline, silence_s, grace_s = int(arguments[0]), float(arguments[1]), float(arguments[2])
    command = arguments[4:]
    libc = ctypes.CDLL(None, use_errno=True)
    os.setsid()
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    us = os.getpid()

    def die_with_us() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != us:  # we died before the call above
            os._exit(1)

    child = subprocess.Popen(command, preexec_fn=die_with_us, start_new_session=True, pass_fds=())  # noqa: PLW1509
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _ask_to_stop(child))
    _watch(child, lifeline, silence_s, grace_s)
    _kill_descendants()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _watch(child: subprocess.Popen[bytes], lifeline: int, silence_s: float, grace_s: float) -> None:
    """Return when the child has ended, by itself or because the lifeline did."""
    pidfd = os.pidfd_open(child.pid)
    ends_at: float | None = None
    last_beat = time.monotonic()
    watched = [pidfd, lifeline]
    while child.poll() is None:
        now = time.monotonic()
        if ends_at is None and silence_s and now - last_beat > silence_s:
            ends_at = _ask_to_stop(child, now + grace_s)
        if ends_at is not None and now >= ends_at:
            child.kill()
        readable, _, _ = select.select(watched, [], [], 0.5)
        if lifeline not in readable:
            continue
        if os.read(lifeline, 4096):
            last_beat = time.monotonic()
        else:
            watched = [pidfd]
            ends_at = ends_at or _ask_to_stop(child, time.monotonic() + grace_s)


def _ask_to_stop(child: subprocess.Popen[bytes], deadline: float = 0.0) -> float:
    child.send_signal(signal.SIGINT)
    return deadline


def _kill_descendants() -> None:
    """Kill what the command left behind; each round may orphan more onto us."""
    while True:
        children = _children()
        if not children:
            return
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def _children() -> list[int]:
    us, found = str(os.getpid()), []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - this file starts without pathlib: 10 ms less a command
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:  # noqa: PTH123
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[1] == us:
                found.append(int(entry))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
