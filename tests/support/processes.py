"""Whether a process of this machine is still there."""

from __future__ import annotations

from pathlib import Path


def is_running(pid: int) -> bool:
    """Zombies count as ended: where nobody reaps orphans they stay."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the second where it ends between opening and reading
        return False
    return state not in {"Z", "X"}
