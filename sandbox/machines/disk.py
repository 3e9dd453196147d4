"""A machine's disk: a view of the shared image that only the machine writes to."""

from __future__ import annotations

import shutil
from pathlib import Path

from mutx_sandbox.machines.kernel import run, succeeds

UPPER, WORK, ROOT = "changes", "work", "root"


class Disk:
    """One machine's disk, in a directory of its own; what is written to it survives the machine's end.

    Args:
        place: the directory.
        layers: the image, uppermost first; never written to.
    """

    def __init__(self, place: Path, layers: tuple[Path, ...]) -> None:
        self._place, self.layers = place, layers
        self.root = place / ROOT

    @property
    def is_new(self) -> bool:
        """True before it was first mounted."""
        return not self.root.exists()

    def mount(self) -> Path:
        """Make the root visible to this process and its children; returns it.

        An overlay where the file system below can carry one, else a copy (cheap where it shares blocks).
        """
        if self.root.is_mount():
            return self.root
        for name in (UPPER, WORK, ROOT):
            (self._place / name).mkdir(parents=True, exist_ok=True, mode=0o755)
        if (self._place / "copied").exists():
            return self.root
        lower = ":".join(str(layer) for layer in self.layers)
        options = f"lowerdir={lower},upperdir={self._place / UPPER},workdir={self._place / WORK}"
        if not succeeds("mount", "-t", "overlay", "overlay", "-o", options, str(self.root)):
            self._copy()
        return self.root

    def unmount(self) -> None:
        """Hide the root again, with whatever was mounted in it."""
        if self.root.is_mount():
            run("umount", "--recursive", "--lazy", str(self.root))

    def remove(self) -> None:
        """Unmount and forget everything that was written."""
        self.unmount()
        shutil.rmtree(self._place, ignore_errors=True)

    def _copy(self) -> None:
        for layer in reversed(self.layers):
            run("cp", "--archive", "--reflink=auto", f"{layer}/.", str(self.root))
        (self._place / "copied").touch()
