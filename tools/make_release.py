"""Build what hosts install of a service, and say so to its role: a folder that a profile names as `hosts.variables`.

    .venv/bin/python tools/make_release.py /srv/mutx/hosts              # the guardrail
    .venv/bin/python tools/make_release.py /srv/mutx/hosts reference_agent

The same source gives the same bytes, and so the same release. Files of the operator's own beside it stay as they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
KIT = "service_kit"
_LEFT_OUT = ("build", "tests", "training", "*.egg-info", "__pycache__")


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where a service is deployed: the inventory's group, and what its role's variables begin with."""

    group: str
    prefix: str


DEPLOYED = {
    "guardrail": Deployed("guard", "guardrail"),
    "reference_agent": Deployed("agent", "agent_runtime"),
}


def main(arguments: Sequence[str]) -> int:
    """Build what is asked for."""
    parser = argparse.ArgumentParser(prog="make_release.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("services", nargs="*", metavar="SERVICE", help=" or ".join(DEPLOYED))
    given = parser.parse_args(arguments)
    services = given.services or ["guardrail"]
    if unknown := set(services) - DEPLOYED.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there is {', '.join(DEPLOYED)}")
    for service in services:
        print(make_release(service, given.folder.resolve()))
    return 0


def make_release(service: str, folder: Path) -> Path:
    """Build a service's release below a folder; returns the file that tells the role."""
    into = folder / "releases" / service
    into.mkdir(parents=True, exist_ok=True)
    wheel, kit = (build_wheel(ROOT / "services" / part, into) for part in (service, KIT))
    lock = into / "requirements.lock"
    shutil.copyfile(ROOT / "services" / service / "requirements.lock", lock)
    told = folder / "group_vars" / DEPLOYED[service].group / f"{service}-release.yml"
    told.parent.mkdir(parents=True, exist_ok=True)
    told.write_text(variables(service, wheel, kit, lock), encoding="utf-8")
    return told


def variables(service: str, wheel: Path, kit: Path, lock: Path) -> str:
    """Return what the role is told, as YAML."""
    prefix = DEPLOYED[service].prefix
    values = {f"{prefix}_wheel": str(wheel), f"{prefix}_companions": [str(kit)], f"{prefix}_lock": str(lock)}
    return f"# Made by tools/make_release.py.\n{yaml.safe_dump(values, sort_keys=False, width=200)}"


def build_wheel(source: Path, into: Path) -> Path:
    """Build a wheel from a copy: a build leaves files in its source."""
    with tempfile.TemporaryDirectory() as name:
        copied, made = Path(name) / "source", Path(name) / "dist"
        shutil.copytree(source, copied, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        done = subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(made), str(copied)],
            env={**os.environ, "SOURCE_DATE_EPOCH": _last_change()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"error[release-build]: {source.name} was not built\n{done.stdout}")
        wheel = next(made.glob("*.whl"))
        return Path(shutil.copy(wheel, into / wheel.name))


def _last_change() -> str:
    """Return when the checkout was last changed, in seconds; a fixed time outside of version control."""
    asked = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "1700000000"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
