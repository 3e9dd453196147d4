"""A file that is looked at again as texts come, so that a new one counts without a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_EVERY_S: Final = 1.0
_Stamp = tuple[int, int, int]


class WatchedFile:
    """A file, and whether it is another one than was last seen. Made before the file is read for the first time.

    Args:
        path: the file, which may come later, or go.
        clock: seconds that only go forward.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._stamp, self._looked = _stamp(path), clock()

    def when_changed(self, take: Callable[[Path], None]) -> None:
        """Call `take` once for each file that is another one; looks no more often than every `LOOK_EVERY_S`."""
        if self._clock() - self._looked < LOOK_EVERY_S:
            return
        with self._lock:
            self._looked = self._clock()
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                take(self._path)


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
