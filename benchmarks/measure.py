"""Wall clock, CPU and memory of one command and of the sandbox's servers behind it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

LIMIT_S = 600
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Sample:
    """One run of one command.

    Attributes:
        wall_s: from the call to its end.
        cpu_s: user and system time of the command and of every process below it.
        server_cpu_s: what the sandbox's processes used meanwhile, by name.
        peak_mib: the largest resident set of any one process of the command.
        said: the end of what it printed.
    """

    wall_s: float
    cpu_s: float
    server_cpu_s: Mapping[str, float]
    peak_mib: float
    said: str = ""


@dataclass
class Series:
    """The samples of one command."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def wall_s(self) -> float:
        """Median wall clock."""
        return median(s.wall_s for s in self.samples)

    @property
    def cpu_s(self) -> float:
        """Median CPU of the command itself."""
        return median(s.cpu_s for s in self.samples)

    @property
    def spread(self) -> str:
        """Shortest and longest wall clock."""
        walls = [s.wall_s for s in self.samples]
        return f"{min(walls):.2f}–{max(walls):.2f}"

    def server_cpu_s(self, name: str) -> float:
        """Median CPU of one of the sandbox's processes."""
        return median(s.server_cpu_s.get(name, 0.0) for s in self.samples)


def run(
    command: Sequence[str],
    directory: Path,
    servers: Mapping[str, int],
    *,
    variables: Mapping[str, str] | None = None,
    expect: tuple[int, ...] = (0,),
) -> Sample:
    """Run a command to its end and measure it; `servers` maps names to pids.

    Raises:
        SystemExit: it ended with a status that is not in `expect`; what it wrote is shown.
    """
    before = {name: cpu_of(pid) for name, pid in servers.items()}
    begun = time.monotonic()
    with _output() as (out, show):
        child = subprocess.Popen(
            list(command),
            cwd=directory,
            env={**os.environ, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.monotonic() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in expect:
            sys.exit(f"{' '.join(command)}: exit status {child.returncode}\n{show()}")
        said = show()
    used = {name: cpu_of(pid) - before[name] for name, pid in servers.items()}
    return Sample(wall_s, usage.ru_utime + usage.ru_stime, used, usage.ru_maxrss / 1024, said)


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(pid: int) -> float:
    """Return a process's resident set."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE_MIB


@contextmanager
def _output() -> Iterator[tuple[int, Callable[[], str]]]:
    """Yield a file descriptor for a command's output, and what shows its end."""
    reader = os.memfd_create("output")

    def show() -> str:
        os.lseek(reader, 0, os.SEEK_SET)
        return os.read(reader, 2**20).decode(errors="replace")[-4000:]

    try:
        yield reader, show
    finally:
        os.close(reader)
