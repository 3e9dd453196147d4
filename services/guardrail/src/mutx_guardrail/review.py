"""What was flagged or blocked, for a person to say whether that was right; calibration learns from it.

An entry holds scores, rules and spans, and the SHA-256 of the text. The text itself is kept only where the tenant's
policy says `log_text`. The store is one SQLite file in the service's state directory.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mutx_guardrail.verdict import Verdict

MOST_ENTRIES = 100_000
"""The oldest beyond these go; those that a person marked go last."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS review (
    id TEXT PRIMARY KEY, at REAL NOT NULL, agent TEXT NOT NULL, direction TEXT NOT NULL, sha256 TEXT NOT NULL,
    checks TEXT NOT NULL, text TEXT, mark TEXT, reviewer TEXT, marked REAL
);
CREATE INDEX IF NOT EXISTS review_order ON review (mark IS NOT NULL, at);
"""


class ReviewsUnavailable(Exception):  # noqa: N818 - the state of the store, told as one
    """The store cannot be read or written: its disk is full, its file is none, somebody else holds it."""


class Mark(StrEnum):
    """What a reviewer says of an entry."""

    RIGHT = "right"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Entry:
    """One text that was flagged or blocked.

    Attributes:
        at: seconds since 1970.
        checks: name, score, action, findings of those that did not pass, as in the verdict.
        mark: `right` or `wrong`, by `reviewer`; empty while nobody has looked.
    """

    id: str
    at: float
    agent: str
    direction: str
    sha256: str
    checks: list[dict[str, object]]
    text: str | None
    mark: str
    reviewer: str

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


class ReviewStore:
    """The entries; safe to share between threads, and between processes of one host.

    Raises:
        ReviewsUnavailable: the file cannot be used; each method raises it as well.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, timeout_s: float = 5.0) -> None:
        self._path, self._clock, self._timeout_s = path, clock, timeout_s
        self._lock = threading.Lock()
        try:
            path.touch(mode=0o600, exist_ok=True)
        except OSError as error:
            raise ReviewsUnavailable(f"{path} cannot be written ({error.strerror})") from None
        with self._open() as connection:
            connection.executescript("PRAGMA journal_mode=WAL;" + _SCHEMA)

    def add(self, verdict: Verdict, agent: str, direction: str, text: str, *, keeps_text: bool) -> str:
        """Keep what did not pass of a verdict, and return its id; empty where everything passed."""
        checks = [check.document() for check in verdict.checks if not check.passed]
        if not checks:
            return ""
        entry = secrets.token_hex(8)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        kept = text.encode("utf-8", "replace").decode() if keeps_text else None
        row = (entry, self._clock(), agent, direction, digest, json.dumps(checks), kept)
        with self._open() as connection:
            connection.execute(
                "INSERT INTO review (id, at, agent, direction, sha256, checks, text) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            connection.execute(
                "DELETE FROM review WHERE id IN (SELECT id FROM review ORDER BY mark IS NOT NULL, at"
                " LIMIT max(0, (SELECT count(*) FROM review) - ?))",
                (MOST_ENTRIES,),
            )
        return entry

    def entries(self, *, only_open: bool = False, agent: str = "", limit: int = 100) -> list[Entry]:
        """Return the newest entries first."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT id, at, agent, direction, sha256, checks, text, mark, reviewer FROM review"
                " WHERE (? = 0 OR mark IS NULL) AND (? = '' OR agent = ?) ORDER BY at DESC LIMIT ?",
                (int(only_open), agent, agent, limit),
            ).fetchall()
        return [
            Entry(
                id=row[0],
                at=row[1],
                agent=row[2],
                direction=row[3],
                sha256=row[4],
                checks=json.loads(row[5]),
                text=row[6],
                mark=row[7] or "",
                reviewer=row[8] or "",
            )
            for row in rows
        ]

    def mark(self, entry: str, mark: Mark, reviewer: str) -> bool:
        """Note what a person says of an entry; False where there is none of that id."""
        with self._open() as connection:
            changed = connection.execute(
                "UPDATE review SET mark = ?, reviewer = ?, marked = ? WHERE id = ?",
                (mark, reviewer, self._clock(), entry),
            )
        return changed.rowcount == 1

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with (
                self._lock,
                closing(sqlite3.connect(self._path, timeout=self._timeout_s)) as connection,
                connection,
            ):
                yield connection
        except sqlite3.Error as error:
            raise ReviewsUnavailable(f"{self._path}: {error}") from None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A threshold by what reviewers said: how many findings of a check they marked, and which share was right."""

    check: str
    threshold: float
    marked: int
    right: int


def suggest_thresholds(entries: list[Entry], precision: float = 0.9, minimum: int = 20) -> list[Suggestion]:
    """Return for each scored check the lowest threshold at which reviewers found enough of its findings right.

    Args:
        entries: marked ones count, others not.
        precision: which share of what is blocked must be right.
        minimum: of marks; with fewer nothing is suggested for a check.
    """
    scores: dict[str, list[tuple[float, bool]]] = {}
    for entry in entries:
        for check in entry.checks if entry.mark else ():
            score = check.get("score")
            if isinstance(score, int | float):
                scores.setdefault(str(check["name"]), []).append((float(score), entry.mark == "right"))
    found = []
    for name, marked in sorted(scores.items()):
        if len(marked) < minimum:
            continue
        limit = _lowest(sorted(marked, reverse=True), precision)
        found.append(Suggestion(name, limit, len(marked), sum(is_right for _, is_right in marked)))
    return found


def _lowest(marked: list[tuple[float, bool]], precision: float) -> float:
    """Return the lowest score down to which enough is right; 1 where that is so nowhere."""
    lowest, right = 1.0, 0
    for count, (score, is_right) in enumerate(marked, 1):
        right += is_right
        is_last_of_its_score = count == len(marked) or marked[count][0] < score
        if is_last_of_its_score and right >= precision * count:
            lowest = score
    return lowest
