"""The laboratory's files: who keeps it, and where it listens."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mutx_infra.adapters.process import is_alive
from mutx_infra.records import Owner


class LabRecord(BaseModel):
    """What `laboratory.json` holds.

    Attributes:
        keeper: the process to end.
        inner: the first process inside; through its root (/proc/PID/root) the namespaces of the machines are seen.
    """

    model_config = ConfigDict(frozen=True)

    keeper: Owner
    inner: int

    @property
    def is_up(self) -> bool:
        """True while the keeper lives."""
        return bool(is_alive(self.keeper))


def record_file(folder: Path) -> Path:
    """Return where the record lies."""
    return folder / "laboratory.json"


def socket_file(folder: Path) -> Path:
    """Return where requests are taken."""
    return folder / "control"


def read_record(folder: Path) -> LabRecord | None:
    """Return the record of a laboratory that lives, or None."""
    try:
        record = LabRecord.model_validate_json(record_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or half-written by one that was killed
        return None
    return record if record.is_up else None
