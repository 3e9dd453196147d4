"""Take the terminal picture of the README: run commands in a sandbox of their own, and write what they say as SVG.

Usage: .venv/bin/python tools/picture.py
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "tenant-create.svg"
COMMANDS = (
    "mutx-infra tenant create acme",
    "mutx-infra tenant list",
    "mutx-infra tenant destroy acme --yes",
)
WIDTH = 92
_PASSED = ("PATH", "HOME", "MUTX_INFRA_CACHE", "XDG_CACHE_HOME")
_STYLES = {"✓": "green", "✗": "red", "error": "red"}


def main() -> int:
    """Write the picture; exit with the status of the first command that fails."""
    with tempfile.TemporaryDirectory() as directory:
        checkout = Path(directory)
        shutil.copy(ROOT / "Pulumi.yaml", checkout)
        (checkout / "tenants").mkdir()
        shutil.copy(ROOT / "tenants" / "acme.yaml", checkout / "tenants")
        try:
            _run("mutx-infra sandbox up", checkout)
            seen = [(command, _run(command, checkout)) for command in COMMANDS]
        finally:
            _run("mutx-infra sandbox down", checkout)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(render(seen), encoding="utf-8")
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)}\n")
    return 0


def render(seen: list[tuple[str, str]]) -> str:
    """Return commands and their output as the SVG of a terminal."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for command, output in seen:
        console.print(Text.assemble(("$ ", "bold blue"), (command, "bold")))
        for line in output.splitlines():
            console.print(Text(line, style=_style(line)), soft_wrap=False, overflow="ellipsis", no_wrap=True)
    # A fixed id, so that only what was said differs between two pictures.
    svg = console.export_svg(title="mutx-infra", unique_id="mutx")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def _run(command: str, checkout: Path) -> str:
    """Return what a command prints, in the order in which a terminal shows it."""
    program, *arguments = command.split()
    done = subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments],
        cwd=checkout,
        env={**{name: os.environ[name] for name in _PASSED if name in os.environ}, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


def _style(line: str) -> str:
    return next((style for start, style in _STYLES.items() if line.startswith(start)), "")


if __name__ == "__main__":
    sys.exit(main())
