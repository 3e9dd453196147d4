"""The tutorial, typed: each `$ ` line is run as it stands, in order, in one shell, and shows what the page shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, Checkout, make_checkout

TUTORIAL = ROOT / "docs" / "tutorial" / "first-tenant.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DURATION = re.compile(r"\(\d+\.\d s\)")


@dataclass(frozen=True)
class Step:
    """A command, and the lines that it is shown to print: `…` stands for anything, durations for any duration."""

    command: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Typed:
    """What a command printed, both streams in one, and its exit status."""

    output: str
    status: int


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Checkout]:
    """What a reader has after `git clone` and `make setup`."""
    made = make_checkout(tmp_path / "mutx-infra")
    shutil.copytree(TUTORIAL.parent, made.root / "docs" / "tutorial")
    shutil.copytree(ROOT / "tenants", made.root / "tenants", dirs_exist_ok=True)
    (made.root / ".venv").symlink_to(sys.prefix)
    yield made
    made.run("sandbox", "down", expect=None)


def test_the_tutorial_does_what_it_shows(reader: Checkout, tmp_path: Path) -> None:
    steps = list(steps_of(TUTORIAL.read_text(encoding="utf-8")))

    typed = type_in(reader.root, [step.command for step in steps], tmp_path)

    assert len(steps) > 10
    for step, done in zip(steps, typed, strict=True):
        missing = first_missing(step.shown, done.output)
        assert missing is None, f"$ {step.command}\ndoes not print\n  {missing}\nbut\n{done.output}"
    # A status other than 0 is shown by the `echo $?` that follows.
    for step, done, after in zip(steps, typed, [*steps[1:], None], strict=True):
        assert done.status == 0 or (after and after.command == "echo $?"), f"$ {step.command}: {done}"


def test_a_command_that_prints_something_else_is_found() -> None:
    assert first_missing(["a 1", "b …"], "a 1\nnoise\nb 2\n") is None
    assert first_missing(["b …", "a 1"], "a 1\nnoise\nb 2\n") == "a 1"
    assert first_missing(["✓ made (0.1 s)"], "✓ made (9.9 s)\n") is None


def steps_of(page: str) -> Iterator[Step]:
    for block in _BLOCK.findall(page):
        command, shown = "", []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield Step(command, tuple(shown))
                command, shown = line[2:], []
            else:
                shown.append(line)
        yield Step(command, tuple(shown))


def type_in(directory: Path, commands: list[str], scratch: Path) -> list[Typed]:
    """Run the commands in one shell, so that `export` and `$?` mean what they mean to a reader."""
    lines = ["last=0"]
    for number, command in enumerate(commands):
        lines.append(f"(exit $last)\n{{ {command}\n}} >'{scratch}/{number}.out' 2>&1; last=$?")
        lines.append(f"echo $last >'{scratch}/{number}.status'")
    script = scratch / "typed.sh"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    subprocess.run(
        ["/bin/bash", str(script)],
        cwd=directory,
        # Unbuffered, so that stdout and stderr come in the order in which a terminal shows them.
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        timeout=200,
        check=False,
    )
    return [
        Typed(
            (scratch / f"{number}.out").read_text(encoding="utf-8"),
            int((scratch / f"{number}.status").read_text(encoding="utf-8")),
        )
        for number in range(len(commands))
    ]


def first_missing(shown: list[str] | tuple[str, ...], output: str) -> str | None:
    """Return the first shown line that does not follow the earlier ones in the output, or None."""
    rest = iter(_plain(output).splitlines())
    for line in shown:
        pattern = re.compile(".*".join(map(re.escape, _plain(line).split("…"))))
        if not any(pattern.fullmatch(found.rstrip()) for found in rest):
            return line
    return None


def _plain(text: str) -> str:
    return _DURATION.sub("(0.0 s)", text)
