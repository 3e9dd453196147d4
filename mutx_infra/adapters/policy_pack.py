"""The policy pack as the engine runs it beside an update: written for this interpreter, and not run twice for one plan.

A pack judges what the program registers, which follows from the plan and the stacks' sources alone. So a plan that
passed the rules of these sources needs no second judgement, and a converge that changes nothing pays nothing.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import yaml

from mutx_infra.plan import TenantPlan

ENTRY = "from mutx_infra.stacks.policy.pack import make_pack\n\nmake_pack()\n"
_PASSED = "policy-passed"


def write_pack(work_dir: Path) -> Path:
    """Write a pack that runs in this interpreter's environment, and return its directory.

    The committed one names a checkout's `.venv`, which an installed toolkit does not have.
    """
    directory = work_dir / "policy"
    directory.mkdir(exist_ok=True, mode=0o700)
    options = {"virtualenv": sys.prefix} if sys.prefix != sys.base_prefix else {}
    settings = {"runtime": {"name": "python", "options": options}}
    (directory / "PulumiPolicy.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (directory / "__main__.py").write_text(ENTRY, encoding="utf-8")
    return directory


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
