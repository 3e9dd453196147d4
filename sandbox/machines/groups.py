"""Control groups: each machine in one of its own, so that all of it can be ended at once, and measured."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mutx_sandbox.machines.kernel import run

MOUNT = Path("/sys/fs/cgroup")
_PATIENCE_S = 5.0


def group_name(folder: Path) -> str:
    """Return the name of the group of a sandbox's machines; two checkouts' differ."""
    return f"mutx-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def mount_unified() -> None:
    """Show this mount namespace the unified hierarchy alone, which is what a container's systemd wants to see."""
    if (MOUNT / "cgroup.controllers").exists():
        return
    run("umount", "--recursive", str(MOUNT))
    if not (MOUNT / "cgroup.controllers").exists():
        run("mount", "-t", "cgroup2", "cgroup2", str(MOUNT))


def kill_group(group: Path) -> None:
    """Kill every process of a group and of those below it, and wait for their end."""
    if not group.is_dir():
        return
    (group / "cgroup.kill").write_text("1", encoding="ascii")
    deadline = time.monotonic() + _PATIENCE_S
    while (
        "populated 1" in (group / "cgroup.events").read_text(encoding="ascii") and time.monotonic() < deadline
    ):
        time.sleep(0.005)


def remove_group(group: Path) -> None:
    """Remove a group whose processes have ended, with those below it."""
    below = sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
    for path in [*below, group]:
        with suppress(OSError):
            path.rmdir()


def remove_everywhere(name: str) -> None:
    """Remove the group of a sandbox that has ended, wherever this machine has the unified hierarchy."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, *_ = line.split()
        group = Path(place) / name
        if kind == "cgroup2" and group.is_dir():
            kill_group(group)
            remove_group(group)


def memory_mib(group: Path) -> float:
    """Return what the processes of a group hold, in MiB: a shared page counts by the share of each process."""
    return sum(_held_kib(pid) for pid in processes_of(group)) / 1024


def processes_of(group: Path) -> Iterator[int]:
    """Yield the processes of a group and of those below it."""
    # Groups come and go while one looks: `os.walk` passes over those that are gone.
    for directory, _, _ in os.walk(group):
        with suppress(OSError):
            yield from map(int, Path(directory, "cgroup.procs").read_text(encoding="ascii").split())


def _held_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
