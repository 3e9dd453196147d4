"""The pause: one file in the state directory. It is there: the agent takes no runs, before and after a restart."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from mutx_service.problem import Problem

FILE_NAME = "paused"
LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused the agent, when (UTC) and why; each is empty where the file was made by hand."""

    since: str = ""
    by: str = ""
    reason: str = ""


def _now() -> datetime:
    return datetime.now(UTC)


class PauseSwitch:
    """Looks at the file at each question, so that whoever may write the directory can pause the agent."""

    def __init__(self, directory: Path, *, now: Callable[[], datetime] = _now) -> None:
        self._file, self._now = directory / FILE_NAME, now
        self._could_not_keep: Pause | None = None

    def is_paused(self) -> bool:
        """Say whether runs are to be refused; yes where that cannot be known."""
        if self._could_not_keep is not None:
            return True
        try:
            self._file.lstat()
        except FileNotFoundError:
            # A state directory that went away must not end a pause.
            return not self._file.parent.is_dir()
        except OSError:
            return True
        return True

    def read(self) -> Pause | None:
        """Return the pause, or None where there is none."""
        if not self.is_paused():
            return None
        if self._could_not_keep is not None:
            return self._could_not_keep
        try:
            content = json.loads(self._file.read_bytes()[:4096])
            return Pause(**{name: str(content[name]) for name in ("since", "by", "reason")})
        except (OSError, ValueError, KeyError, TypeError):
            return Pause()

    def set(self, by: str, reason: str) -> Pause:
        """Pause, on disk before this returns. An earlier pause keeps its beginning.

        Raises:
            Problem: `pause-unwritable`; this process then stays paused until `clear`.
        """
        if self._could_not_keep is None and os.path.lexists(self._file):
            return self.read() or Pause()
        pause = Pause(self._now().isoformat(timespec="seconds"), by, reason[:LONGEST_REASON])
        try:
            self._write(json.dumps(asdict(pause)).encode())
        except OSError as error:
            self._could_not_keep = pause
            raise Problem("pause-unwritable", "the state directory cannot be written") from error
        self._could_not_keep = None
        return pause

    def clear(self) -> None:
        """End the pause; nothing where there is none.

        Raises:
            Problem: `pause-unwritable`; the agent is still paused.
        """
        try:
            self._file.unlink(missing_ok=True)
            _sync_directory(self._file.parent)
        except OSError as error:
            raise Problem("pause-unwritable", "the state directory cannot be written") from error
        self._could_not_keep = None

    def _write(self, content: bytes) -> None:
        """Make the file first: it counts from then on, even when a full disk takes no content."""
        handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.write(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
        _sync_directory(self._file.parent)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
