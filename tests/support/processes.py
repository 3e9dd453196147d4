"""Whether a process of this machine is still there."""

from __future__ import annotations

import time
from pathlib import Path

UNTIL_PIPE_CLOSES = '"$@" & server=$!; read -r _; kill -INT "$server"; wait "$server"'
"""Script of a shell that runs a server, and ends it when its standard input closes: with us, however we end."""


def is_running(pid: int) -> bool:
    """Zombies count as ended: where nobody reaps orphans they stay."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the second where it ends between opening and reading
        return False
    return state not in {"Z", "X"}


def ends(pid: int, within_s: float = 5) -> bool:
    """Wait for a process to end; False where it does not in time."""
    deadline = time.monotonic() + within_s
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_running(pid)
