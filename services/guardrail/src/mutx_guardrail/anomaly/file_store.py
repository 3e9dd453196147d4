"""State in a file of one host's own (SQLite): for a guard that shares it with no other. A restart forgets nothing.

The time is the host's; a clock that is set back is borne as by every store. What has lapsed is removed by the second.
The file has a bound: a full one forgets what is not vital, the soonest to lapse first, and then refuses.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from mutx_guardrail.anomaly.memory import take_place
from mutx_guardrail.anomaly.store import MICROSECONDS, Step, StoreUnavailable

T = TypeVar("T")

LARGEST_BYTES = 1 << 30
PAGE_BYTES = 4_096
BUSY_S = 0.5
"""How long another process may hold the file."""
_FORGOTTEN_AT_ONCE = 1_000
_TABLE = """
CREATE TABLE IF NOT EXISTS state (
  key TEXT PRIMARY KEY, value BLOB NOT NULL, until INTEGER NOT NULL, is_vital INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lapsing ON state (until);
"""


def wall_us() -> int:
    """Return microseconds since 1970."""
    return time.time_ns() // 1_000


class FileStore:
    """A store in a file.

    A write is on the disk when the next checkpoint is; a host that loses its power may forget the last seconds.

    Args:
        path: the file; made with mode 0600 where it is not there.
        largest_bytes: of the file, without its log.
        clock: the time in microseconds.
    """

    def __init__(
        self, path: Path, largest_bytes: int = LARGEST_BYTES, clock: Callable[[], int] = wall_us
    ) -> None:
        self._path, self._most_pages, self._clock = path, largest_bytes // PAGE_BYTES, clock
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._swept = 0

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    def take(self, key: str, limit: int, window_us: int) -> int:
        """Take a place (see `Store`)."""
        with self._changing() as (file, now):
            before = _read(file, key, now) or b""
            taken = array("q", before)
            wait_us = take_place(taken, limit, window_us, now)
            # A refusal writes as well where the clock was set back: what lay in its future no longer does.
            if (after := taken.tobytes()) != before:
                _write(file, key, after, now + window_us, is_vital=True)
            return wait_us

    def change(self, key: str, step: Step[T], *, is_vital: bool) -> T:
        """Change a state (see `Store`)."""
        with self._changing() as (file, now):
            before = _read(file, key, now)
            change = step(before, now)
            if change.state is None:
                file.execute("DELETE FROM state WHERE key = ?", (key,))
            elif change.state != before:
                _write(file, key, change.state, now + change.ttl_s * MICROSECONDS, is_vital=is_vital)
            return change.told

    @contextmanager
    def _changing(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        """Give the file and the time, alone; what fails changes nothing."""
        with self._lock:
            try:
                file = self._open = self._open or self._connect()
                file.execute("BEGIN IMMEDIATE")
                try:
                    now = self._clock()
                    self._sweep(file, now)
                    yield file, now
                except BaseException:
                    file.rollback()
                    raise
                file.commit()
            except (sqlite3.Error, OSError) as error:
                raise StoreUnavailable(f"the file of agents' state failed ({type(error).__name__})") from None

    def _connect(self) -> sqlite3.Connection:
        self._path.touch(0o600)
        file = sqlite3.connect(self._path, BUSY_S, isolation_level=None, check_same_thread=False)
        for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = WAL", "synchronous = NORMAL",
                       f"max_page_count = {self._most_pages}"):  # fmt: skip
            file.execute(f"PRAGMA {pragma}")
        file.executescript(_TABLE)
        return file

    def _sweep(self, file: sqlite3.Connection, now: int) -> None:
        """Remove what has lapsed, at most once a second."""
        if now // MICROSECONDS != self._swept:
            self._swept = now // MICROSECONDS
            file.execute("DELETE FROM state WHERE until <= ?", (now,))


def _read(file: sqlite3.Connection, key: str, now: int) -> bytes | None:
    row = file.execute("SELECT value FROM state WHERE key = ? AND until > ?", (key, now)).fetchone()
    return bytes(row[0]) if row else None


def _write(file: sqlite3.Connection, key: str, value: bytes, until: int, *, is_vital: bool) -> None:
    """Keep a value; where the file is full, in the place of others that are not vital."""
    row = (key, value, until, is_vital)
    try:
        file.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)", row)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        file.execute(
            "DELETE FROM state WHERE key IN (SELECT key FROM state WHERE NOT is_vital ORDER BY until LIMIT ?)",
            (_FORGOTTEN_AT_ONCE,),
        )
        file.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)", row)
