"""Run the test tiers, one pytest call each, within their budgets, and let no process outlive them.

`make test` runs it. A tier's files are dealt to as many workers as there are processors; the tests of one file stay
in one worker. This process adopts every orphan below it (Linux), so a test cannot leave one behind unseen: what is
still alive a moment after pytest has ended is named, ended, and fails the run.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from console import INTERRUPTED, say, spell_duration

ROOT = Path(__file__).resolve().parent.parent

TIME_FACTOR_VARIABLE = "MUTX_TEST_TIME_FACTOR"
_REFERENCE_S, _REFERENCE_STEPS = 0.12, 2_000_000
"""Processor time of a loop on the machine by which budgets are set; where it takes longer, they are longer."""
LEFTOVER_GRACE_S = 5
MOST_WORKERS = 4
"""A worker of the later tiers has a sandbox of its own."""
_PR_SET_CHILD_SUBREAPER = 36
_NOTHING_COLLECTED = 5


@dataclass(frozen=True, slots=True)
class Tier:
    """Tests that run in one pytest call.

    Attributes:
        directories: below tests/, without those that another tier names.
        budget_s: processor time that it may take, that of every process below it added up. Four to five times what
            it took when this was written: it is to catch a tier that grew, not a machine that is slow or busy (a
            processor whose other half is busy takes twice the time, which no loop measured beforehand can foresee).
        is_parallel: whether its files may run beside each other.
        preparation: a module that gets what the tier takes; the first time it may take long, which is not the tests'.
        tools: get what some of its tests take, in the same way.
    """

    directories: tuple[str, ...]
    budget_s: float
    is_parallel: bool = True
    preparation: str | None = None
    tools: tuple[str, ...] = ()


TIERS = {
    "unit": Tier(("unit",), 900, is_parallel=False),
    "contracts": Tier(("contracts", "integration/sandbox"), 1500),
    "network": Tier(("integration",), 9000, tools=("get_tailnet.py", "get_oidc_provider.py")),
    "system": Tier(("system",), 900),
    "hosts": Tier(
        ("hosts",),
        10000,
        is_parallel=False,
        preparation="mutx_sandbox.machines.image",
        tools=("get_tailnet.py",),
    ),
}
"""In the order they run."""


def main(arguments: Sequence[str]) -> int:
    """Run the chosen tiers; the first failing one ends the run and gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tier", choices=TIERS, action="append", help="run this tier only (may be repeated)")
    parser.add_argument("--full", action="store_true", help="run the long tests too, without time budgets")
    parser.add_argument("rest", nargs="*", help="handed to pytest; put -- before options")
    options = parser.parse_args(arguments)

    _adopt_orphans()
    for tier in options.tier or TIERS:
        status = _run_tier(tier, full=options.full, rest=options.rest)
        if status != 0:
            return status
    return 0


def _run_tier(name: str, *, full: bool, rest: Sequence[str]) -> int:
    tier = TIERS[name]
    if tier.preparation is not None:
        status = _run_to_the_end([sys.executable, "-m", tier.preparation])
        if status != 0:
            return status
    for tool in tier.tools:
        status = _run_to_the_end([sys.executable, str(ROOT / "tools" / tool)])
        if status != 0:
            return status
    start, before_s = time.monotonic(), _processor_s()
    status = _run_to_the_end([sys.executable, "-m", "pytest", *pytest_arguments(tier, full=full), *rest])
    leftovers = _end_leftovers()
    took_s = _processor_s() - before_s
    say(
        f"{name}: exit status {status} after {spell_duration(time.monotonic() - start)}, "
        f"{spell_duration(took_s)} of processor time"
    )
    for leftover in leftovers:
        say(f"error[process-left]: a test left a process behind: {leftover}")
    late = None if full else over_budget(tier, took_s, machine_factor(os.environ))
    if late is not None:
        say(f"error[over-budget]: {name}: {late}")
        say(
            f"  hint: the slowest tests are named above; {TIME_FACTOR_VARIABLE}=2 allows twice what budgets allow"
        )
    return status or (1 if leftovers or late else 0)


def pytest_arguments(tier: Tier, *, full: bool, processors: int | None = None) -> list[str]:
    """Return what to ask of pytest for a tier."""
    others = {path for other in TIERS.values() for path in other.directories} - set(tier.directories)
    inside = [
        path for path in sorted(others) if any(path.startswith(f"{mine}/") for mine in tier.directories)
    ]
    workers = min(processors or os.cpu_count() or 1, MOST_WORKERS)
    return [
        *(place for path in tier.directories for place in _places(path)),
        *(f"--ignore=tests/{path}" for path in inside),
        *(["--hypothesis-profile=full"] if full else ["-m", "not full"]),
        *(["--numprocesses", str(workers), "--dist=loadfile"] if tier.is_parallel and workers > 1 else []),
        "--durations=10",
        "--durations-min=0.5",
    ]


def _places(directory: str) -> list[str]:
    """Return where a directory of tests lies: below tests/, and below the tests/ of each service that has it."""
    found = sorted(ROOT.glob(f"services/*/tests/{directory}"))
    return [f"tests/{directory}", *(str(path.relative_to(ROOT)) for path in found)]


def machine_factor(environment: Mapping[str, str]) -> float:
    """Return by how much longer tests may take here: as the environment says, else as slow as the machine is."""
    if said := environment.get(TIME_FACTOR_VARIABLE):
        return float(said)
    return max(1.0, min(_loop_s() for _ in range(3)) / _REFERENCE_S)


def _loop_s() -> float:
    begun, total = time.process_time(), 0
    for step in range(_REFERENCE_STEPS):
        total += step
    return time.process_time() - begun


def over_budget(tier: Tier, took_s: float, factor: float) -> str | None:
    """Say by how much a tier took longer than it may; None if it did not."""
    allowed_s = tier.budget_s * factor
    if took_s <= allowed_s:
        return None
    return f"took {took_s:.0f} s of processor time, may take {allowed_s:.0f} s"


def _processor_s() -> float:
    """Return the processor time of all processes below this one that have ended: it reaps each of them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run_to_the_end(command: Sequence[str]) -> int:
    """Run pytest and reap everything that is adopted meanwhile; when interrupted, pytest ends by itself."""
    child = subprocess.Popen(list(command), cwd=ROOT, stdin=subprocess.DEVNULL)
    is_interrupted = False

    def pass_on(_number: int, _frame: object) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        child.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, pass_on)
    while True:
        try:
            pid, status = os.wait()
        except KeyboardInterrupt:
            is_interrupted = True
            continue
        except ChildProcessError:
            return 1
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            if is_interrupted:
                return INTERRUPTED
            return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end_leftovers() -> list[str]:
    """Wait a moment for the last processes to end by themselves; name and end the ones that do not. Reaps all."""
    deadline = time.monotonic() + LEFTOVER_GRACE_S
    while (alive := _descendants()) and time.monotonic() < deadline:
        time.sleep(0.1)
        _reap()
    named = [_name(pid) for pid in alive]
    while alive := _descendants():
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        _reap()
    _reap()
    return named


def _descendants() -> list[int]:
    """List the living children of this process; orphans below it are its children by adoption."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _name(pid: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return f"{pid}: {' '.join(words).strip()[:200]}"
    return str(pid)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
