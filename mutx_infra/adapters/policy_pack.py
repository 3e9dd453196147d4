"""The policy pack as the engine runs it beside an update: by this interpreter, and not twice for one plan.

The engine runs a pack written in Python by `pulumi-analyzer-policy-python` on PATH, or else by its Python language
host, which would start one more process and may not be there. So each pack gets an analyzer of its own, found first.

A pack judges what the program registers, which follows from the plan and the stacks' sources alone. So a plan that
passed the rules of these sources needs no second judgement, and a converge that changes nothing pays nothing.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from mutx_infra.plan import TenantPlan

ENTRY = """\
import sys

from mutx_infra.stacks.policy.pack import end_with, make_pack

end_with(int(sys.argv[-1]))
make_pack()
"""
_PASSED = "policy-passed"


@dataclass(frozen=True, slots=True)
class Written:
    """A pack on disk: its directory, and the one that PATH must begin with when the engine runs it."""

    directory: Path
    programs: Path


def write_pack(work_dir: Path) -> Written:
    """Write a pack that runs in this interpreter.

    The committed one names a checkout's `.venv`, which an installed toolkit does not have.
    """
    pack = Written(work_dir / "policy", work_dir / "policy" / "bin")
    pack.programs.mkdir(parents=True, exist_ok=True, mode=0o700)
    (pack.directory / "PulumiPolicy.yaml").write_text("runtime: python\n", encoding="utf-8")
    (pack.directory / "__main__.py").write_text(ENTRY, encoding="utf-8")
    analyzer = pack.programs / "pulumi-analyzer-policy-python"
    # The engine gives its address and the pack's directory, then options for runtimes of other kinds.
    command = shlex.join([sys.executable, "-P", "-u", "-m", "pulumi.policy"])
    analyzer.write_text(f'#!/bin/sh\nexec {command} "$1" "$2" $PPID\n', encoding="utf-8")
    analyzer.chmod(0o700)
    return pack


def has_passed(work_dir: Path, plan: TenantPlan) -> bool:
    """Say whether this very plan passed the rules of these very sources in this work directory."""
    with suppress(OSError):
        return (work_dir / _PASSED).read_text(encoding="utf-8") == _verdict(plan)
    return False


def remember(work_dir: Path, plan: TenantPlan) -> None:
    """Write down that the plan passed."""
    (work_dir / _PASSED).write_text(_verdict(plan), encoding="utf-8")


def _verdict(plan: TenantPlan) -> str:
    digest = sha256(plan.digest.encode())
    root = files("mutx_infra.stacks")
    for path in sorted(Path(str(root)).rglob("*.py")):
        digest.update(path.read_bytes())
    digest.update(ENTRY.encode())
    return f"sha256:{digest.hexdigest()}\n"
