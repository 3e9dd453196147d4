"""stdout is data, stderr is everything else: tables or JSON here, progress and errors there."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from mutx_infra.errors import MutxInfraError, OutsideError

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA_VERSION = 1


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


@dataclass(slots=True)
class Output:
    """How this invocation prints.

    Attributes:
        format: tables for people, JSON for programs.
        quiet: True prints errors and data only.
        progress: False never redraws a line, also on a terminal.
        verbose: True adds one line for each resource.
    """

    format: Format = Format.TABLE
    quiet: bool = False
    progress: bool = True
    verbose: bool = False
    _console: Console | None = field(default=None, repr=False)

    def data(self, content: dict[str, object]) -> None:
        """Print one JSON document: versioned, sorted, stable."""
        document = {"schema_version": SCHEMA_VERSION, **content}
        emit(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table: boxed on a terminal, aligned columns in a pipe."""
        if sys.stdout.isatty():
            from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it
            from rich.table import Table  # noqa: PLC0415

            table = Table(box=None, header_style="bold", pad_edge=False)
            for column in columns:
                table.add_column(column, overflow="fold")  # an id that is cut off is of no use
            for row in rows:
                table.add_row(*row)
            Console().print(table)
            return
        widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
        lines = [
            "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [columns, *rows]
        ]
        emit("".join(f"{line}\n" for line in lines))

    def say(self, text: str) -> None:
        """Tell the operator something, on stderr."""
        if not self.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


class ConsoleReporter:
    """Prints a use case's progress on stderr: a live line on a terminal, one plain line per finished step elsewhere."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._live = output.progress and not output.quiet and sys.stderr.isatty()
        self._started = self._finished = 0
        self._title = ""

    @contextmanager
    def step(self, name: str, title: str, done: list[str]) -> Iterator[None]:
        """Show one step from begin to end."""
        begun = time.monotonic()
        self._title, self._started, self._finished = title, 0, 0
        self._draw(f"… {title}")
        try:
            yield
        except BaseException:
            self._clear()
            self._output.say(f"✗ {name}: {title}")
            raise
        self._clear()
        self._output.say(f"✓ {name}: {'; '.join(done) or title} ({time.monotonic() - begun:.1f} s)")

    def resource(self, operation: str, kind: str, name: str, *, done: bool) -> None:
        """Count one resource."""
        self._started, self._finished = self._started + (not done), self._finished + done
        if self._output.verbose and done:
            self._clear()
            self._output.say(f"  {operation} {name} ({kind})")
        self._draw(f"… {self._title}: {self._finished} of {self._started}  {operation} {name}")

    def note(self, text: str) -> None:
        """Print a remark."""
        self._clear()
        self._output.say(f"note: {text}")

    def _draw(self, text: str) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[2K{text[:100]}")
            sys.stderr.flush()

    def _clear(self) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def emit(text: str) -> None:
    """Write to stdout, all of it or an error: a pipeline must not take half a document for the whole."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise typer.Exit(0) from None  # the reader went away (`| head`): not our failure
    except OSError as exc:
        raise OutsideError(
            f"the result could not be written: {exc.strerror}",
            code="output-unwritable",
            remedy="free space where the output goes; what the command did is recorded, "
            "`mutx-infra tenant show` prints it again",
        ) from exc


def print_error(error: MutxInfraError) -> None:
    """Print what went wrong, where, and what to do, on stderr."""
    lines = [f"error[{error.code}]: {error.message}"]
    lines += [f"  {line}" for line in error.detail.splitlines()]
    lines += [f"  hint: {error.remedy}"] if error.remedy else []
    sys.stderr.write("\n".join(lines) + "\n")
