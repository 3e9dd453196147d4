"""What an image with tailscale has: the vendor's daemon, client, unit and settings, where its package has them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_UNIT = "usr/lib/systemd/system/tailscaled.service"
_FILES = {
    "usr/sbin/tailscaled": ("tailscaled", 0o755),
    "usr/bin/tailscale": ("tailscaled", 0o755),
    _UNIT: ("tailscaled.service", 0o644),
    "etc/default/tailscaled": ("tailscaled.defaults", 0o644),
}
"""What lies where, by the programs' names: the client is the daemon by another name."""


def ensure_tailnet_layer(cache: Path, programs: Path) -> Path:
    """Return the directory of the layer, made where it is not there yet; the programs' directory names it."""
    place = cache / "machines" / f"tailscale-{programs.name}"
    if place.is_dir():
        return place
    unfinished = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    bake(programs, unfinished)
    try:
        unfinished.rename(place)
    except OSError:  # another process was quicker, with the same content
        shutil.rmtree(unfinished)
    return place


def bake(programs: Path, root: Path) -> None:
    """Put the files below a root directory."""
    for target, (name, mode) in _FILES.items():
        path = root / target
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        shutil.copyfile(programs / name, path)
        path.chmod(mode)
    wants = root / "etc/systemd/system/multi-user.target.wants/tailscaled.service"
    wants.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    wants.symlink_to(f"/{_UNIT}")
