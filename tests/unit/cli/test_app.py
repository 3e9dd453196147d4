"""What the command line does with what goes wrong: one message, one exit status, no trace."""

from __future__ import annotations

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


def test_every_command_has_help_and_an_example() -> None:
    def below(app: typer.Typer, path: str) -> Iterator[tuple[str, str, str]]:
        for found in app.registered_commands:
            name = found.name or (found.callback.__name__ if found.callback else "")
            doc = found.help or (found.callback.__doc__ if found.callback else "") or ""
            yield f"{path} {name}", doc, found.epilog or ""
        for group in app.registered_groups:
            assert group.typer_instance is not None
            yield from below(group.typer_instance, f"{path} {group.name}")

    commands = list(below(root.app, "mutx-infra"))

    assert len(commands) > 15
    assert [path for path, doc, _ in commands if not doc.strip()] == []
    assert [path for path, _, epilog in commands if not epilog.startswith(f"Example: {path}")] == []


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
