"""What the command line does with what goes wrong: one message, one exit status, no trace."""

from __future__ import annotations

import inspect
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from mutx_infra.cli import app as root
from mutx_infra.cli.output import Output
from typer.models import CommandInfo

from mutx_infra.errors import OutsideError, RefusedError

PROGRAM = str(Path(sys.executable).parent / "mutx-infra")


@contextmanager
def command(name: str, action: object) -> Iterator[None]:
    """Add a command for the time of a test."""
    root.app.command(name)(action)  # type: ignore[arg-type]
    try:
        yield
    finally:
        root.app.registered_commands.pop()


ALWAYS_JSON = {
    "mutx-infra account boundary",
    "mutx-infra account policy",
    "mutx-infra archive events",
    "mutx-infra hosts inventory",
    "mutx-infra spec schema",
    "mutx-infra tailnet policy",
}
"""They print a document, or one a line, which is JSON whatever was asked for."""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mutx-infra", *arguments])
    return root.run()


def raising(error: BaseException) -> object:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status", "first_line"),
    [
        (RefusedError("no", code="x-y", remedy="do z"), 4, "error[x-y]: no"),
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("boom"), 1, "error[defect]: RuntimeError: boom"),
    ],
    ids=["refused", "ctrl-c", "defect"],
)
def test_each_failure_has_its_status_and_no_trace(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    first_line: str,
) -> None:
    with command("fail", raising(error)):
        got = run(monkeypatch, "fail")

    said = capsys.readouterr()
    assert (got, said.out) == (status, "")
    assert said.err.startswith(first_line)
    assert "Traceback" not in said.err


def test_a_defect_shows_its_trace_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUTX_INFRA_TRACE", "1")

    with command("fail", raising(RuntimeError("boom"))):
        assert run(monkeypatch, "fail") == 1

    assert "Traceback" in capsys.readouterr().err


def test_wrong_usage_names_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "tenant", "creat") == 2

    assert "hint: see `mutx-infra tenant --help`" in capsys.readouterr().err


def test_a_broken_extension_leaves_the_other_commands_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root.add_extension(EntryPoint("broken", "no.such.module:app", "mutx_infra.commands"))
    try:
        assert run(monkeypatch, "broken") == 4
        assert "error[extension-broken]" in capsys.readouterr().err
        assert run(monkeypatch, "--version") == 0
    finally:
        root.app.registered_commands.pop()


def commands(app: typer.Typer = root.app, path: str = "mutx-infra") -> Iterator[tuple[str, CommandInfo]]:
    """Every command with its whole name."""
    for found in app.registered_commands:
        assert found.callback is not None
        yield f"{path} {found.name or found.callback.__name__}", found
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, f"{path} {group.name}")


def test_there_are_commands_to_look_at() -> None:
    assert len(list(commands())) > 15


@pytest.mark.parametrize(("name", "found"), [pytest.param(*pair, id=pair[0]) for pair in commands()])
def test_every_command_has_help_an_example_and_json(name: str, found: CommandInfo) -> None:
    assert found.callback is not None
    assert (found.help or found.callback.__doc__ or "").strip()
    assert (found.epilog or "").startswith(f"Example: {name}")
    # The schema is JSON already.
    assert "as_json" in inspect.signature(found.callback).parameters or name in ALWAYS_JSON


class _Full(io.StringIO):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("kind", ["table", "json"])
def test_output_that_cannot_be_written_is_a_failure(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(sys, "stdout", _Full())

    with pytest.raises(OutsideError, match="No space left on device"):
        Output().table(("a",), [("1",)]) if kind == "table" else Output().data({"a": 1})


def test_the_program_ends_with_all_it_printed_and_its_status() -> None:
    told = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False)
    wrong = subprocess.run([PROGRAM, "nonsense"], capture_output=True, text=True, check=False)

    assert (told.returncode, told.stdout.split()[0], told.stderr) == (0, "mutx-infra", "")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error[usage]: ")


def test_a_reader_that_goes_away_is_no_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run([PROGRAM, "spec", "schema"], stdout=writer, stderr=subprocess.PIPE, check=False)

    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
