"""A page of figures: what it looks like, and where it goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

WIDTH = 118


@dataclass(frozen=True)
class Row:
    """One line of a page: what was measured, how much it was, and what beside."""

    what: str
    value: str
    beside: str = ""


def paragraph(text: str) -> str:
    """Return a text in lines of the pages' width."""
    return fill(text, WIDTH, break_on_hyphens=False)


def table_page(title: str, where: str, columns: str, rows: Sequence[str]) -> str:
    """Return a page of one table.

    Args:
        title: without the mark of a heading.
        where: how, where and of what it was measured.
        columns: the table's first row, as Markdown.
        rows: the others.
    """
    line = "|" + " --- |" * (columns.count("|") - 1)
    return "\n".join([f"# {title}\n", paragraph(where), "", columns, line, *rows]) + "\n"


def publish(file: Path, text: str, *, write: bool) -> None:
    """Write a page into its file, or print it."""
    if write:
        file.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
