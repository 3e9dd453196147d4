"""Linux's namespaces for this process and its threads: system calls that Python has from 3.12 on."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import TypeVar

from mutx_infra.errors import OutsideError

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG = 1

Result = TypeVar("Result")


def unshare(namespaces: int) -> None:
    """Give this process namespaces of its own: mounts at once, a process tree from its next child on.

    When the first process of that tree ends, the kernel ends all others and lets go of their mounts and networks.
    """
    _check(_libc().unshare(namespaces), "unshare")


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it ends."""
    _check(_libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def inside(network: Path, action: Callable[[], Result]) -> Result:
    """Run something in a network namespace; what it opens stays there. A thread enters, so nobody else does."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def enter() -> None:
        try:
            descriptor = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _check(_libc().setns(descriptor, CLONE_NEWNET), "setns")
            finally:
                os.close(descriptor)
            results.append(action())
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that asked
            failures.append(exc)

    thread = Thread(target=enter, name=f"in {network.name}")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def watches_left(wanted: int) -> int:
    """Return how many inotify instances root may still open, at most `wanted`: found out by opening them.

    Containers share root's allowance (`fs.inotify.max_user_instances`, 128 by default), and systemd needs some.
    """
    libc = _libc()
    opened: list[int] = []
    try:
        while len(opened) < wanted and (descriptor := libc.inotify_init1(os.O_CLOEXEC)) >= 0:
            opened.append(descriptor)
        return len(opened)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def run(*command: str, stdin: str | None = None) -> None:
    """Run a command of the system.

    Raises:
        OutsideError: it failed (code `machine-command-failed`).
    """
    done = subprocess.run(
        command, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise OutsideError(
            f"`{' '.join(command)}` failed",
            code="machine-command-failed",
            remedy="run `mutx-infra sandbox hosts down`, then the same command again",
            detail="\n".join(filter(None, [stdin, done.stderr.strip()])),
        )


def succeeds(*command: str) -> bool:
    """Run a command of the system that may fail; says whether it did not."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
