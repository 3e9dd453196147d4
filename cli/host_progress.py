"""The progress of a run over many hosts: a line a host on a terminal, the steps alone elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mutx_infra.cli.output import ConsoleReporter, Output

REDRAW_S = 0.1


class HostConsole(ConsoleReporter):
    """Shows what each host is at: its task, how long the run has taken, how much has changed on it."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._verbose = output.verbose
        self._hosts: dict[str, str] = {}
        self._begun = self._drawn_at = time.monotonic()
        self._lines = 0

    @contextmanager
    def step(self, name: str, title: str, done: list[str]) -> Iterator[None]:
        """Show one step from begin to end; its hosts' lines go with it."""
        self._hosts.clear()
        self._begun = time.monotonic()
        with super().step(name, title, done):
            try:
                yield
            finally:
                self._wipe()

    def task(self, host: str, task: str, *, changed: int) -> None:
        """Show that a host begins a task."""
        if self._verbose:
            self._output.say(f"  {host}: {task}")
        self._hosts[host] = f"{task}{f'  ({changed} changed)' if changed else ''}"
        now = time.monotonic()
        if self._live and not self._verbose and now - self._drawn_at > REDRAW_S:
            self._drawn_at = now
            self._redraw(now)

    def _redraw(self, now: float) -> None:
        columns, rows = shutil.get_terminal_size()
        self._wipe()
        shown = list(self._hosts.items())[: max(1, rows - 2)]
        width = max(len(host) for host, _ in shown)
        lines = [f"{host.ljust(width)}  {what}"[: columns - 1] for host, what in shown]
        lines.append(f"… {now - self._begun:.0f} s"[: columns - 1])
        sys.stderr.write("\n".join(lines))
        sys.stderr.flush()
        self._lines = len(lines)

    def _wipe(self) -> None:
        if self._lines:
            up = f"\x1b[{self._lines - 1}A" if self._lines > 1 else ""
            sys.stderr.write(f"\r{up}\x1b[J")
            sys.stderr.flush()
            self._lines = 0
