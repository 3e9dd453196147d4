"""Build programs of Go modules as their go.sum says, and keep them by version outside the checkout."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from console import Progress, run_watched, say
from places import writable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mutx_infra.errors import OutsideError, SettingsError

BUILD_LIMIT_S = 3600
# The first Go that fetches the toolchain a module asks for.
OLDEST_GO = (1, 21)


@dataclass(frozen=True, slots=True)
class GoProgram:
    """One program to build.

    Attributes:
        module: directory of the go.mod that names every version.
        package: what to build.
        title: what it is, as in "the Pulumi engine".
        duration: how long a build takes, for who waits.
        flags: for `go build`.
        code: start of the error codes' name.
        otherwise: what to do where there is no Go.
    """

    module: Path
    package: str
    title: str
    duration: str
    flags: tuple[str, ...]
    code: str
    otherwise: str

    @property
    def go_version(self) -> str:
        """Return the Go that go.mod asks for."""
        wanted = re.search(r"^go (\S+)", (self.module / "go.mod").read_text("utf-8"), re.MULTILINE)
        return wanted[1] if wanted else "1.25"


def build(
    program: GoProgram, target: Path, scratch: Path, variables: Mapping[str, str], works: Callable[[], bool]
) -> None:
    """Build a program; go.sum decides what the module may contain.

    Args:
        program: which one.
        target: the file to make; its directory is made.
        scratch: an empty directory for Go's temporary files.
        variables: the caller's environment.
        works: says whether what was built is what was wanted.

    Raises:
        SettingsError: Go is missing or too old.
        OutsideError: the build failed.
    """
    go = usable_go(program, variables)
    work = scratch / "go-tmp"
    work.mkdir(exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    compiled = 0

    def count(line: str) -> str | None:
        nonlocal compiled
        if line.startswith("go: downloading "):
            return f"downloading {line.split()[2]}"
        compiled += 0 if line.startswith(("go: ", "#")) else 1
        return f"{compiled} packages compiled"

    progress = Progress(f"building {program.title} with Go ({program.duration})")
    progress.begin()
    outcome = run_watched(
        [
            go,
            "build",
            "-v",
            "-trimpath",
            "-buildvcs=false",
            *program.flags,
            "-o",
            str(target),
            program.package,
        ],
        variables=go_variables(variables, work),
        directory=program.module,
        progress=progress,
        limit_s=BUILD_LIMIT_S,
        note_of=count,
    )
    if outcome.status != 0 or not works():
        progress.close()
        raise OutsideError(
            f"{program.title} could not be built",
            code=f"{program.code}-build-failed",
            detail="\n".join(outcome.tail[-6:]) or f"exit status {outcome.status}",
            remedy=(
                "check that Go can reach its modules (`go env GOPROXY`) and that the disk has 4 GB free"
                f"{program.otherwise}"
            ),
        )
    progress.end("done")


def usable_go(program: GoProgram, variables: Mapping[str, str]) -> str:
    """Return the Go command.

    Raises:
        SettingsError: Go is missing, or too old and not allowed to fetch the version that go.mod asks for.
    """
    needed = program.go_version
    remedy = f"install Go {needed} or newer (https://go.dev/dl/){program.otherwise}"
    go = shutil.which("go", path=variables.get("PATH", ""))
    if go is None:
        raise SettingsError(
            f"Go is needed to build {program.title}, and is not on PATH", code="go-missing", remedy=remedy
        )
    answer = subprocess.run(
        [go, "env", "GOVERSION", "GOTOOLCHAIN"],
        env=go_variables(variables, None),
        cwd=Path(go).resolve().parent,  # outside any module: go.mod would make an old Go refuse to answer
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    have, _, toolchain = answer.stdout.strip().partition("\n")
    numbers = _go_numbers(have)
    is_new_enough = numbers >= _go_numbers(needed)
    may_fetch = numbers >= OLDEST_GO and toolchain.strip() != "local"
    if not (is_new_enough or may_fetch):
        raise SettingsError(
            f"{have or 'the Go on PATH'} is too old to build {program.title}, which needs Go {needed}",
            code="go-too-old",
            detail=f"at {go}, with GOTOOLCHAIN={toolchain.strip() or 'unknown'}",
            remedy=remedy,
        )
    return go


def go_variables(variables: Mapping[str, str], work: Path | None) -> dict[str, str]:
    """Return Go's environment: go.sum enforced, no workspace or target of the caller's, own scratch space."""
    alien = {"GOFLAGS", "GOWORK", "GOOS", "GOARCH", "GOARM", "GOAMD64", "GOEXPERIMENT", "GOTMPDIR"}
    mine = {key: value for key, value in variables.items() if key not in alien}
    mine.update(GOFLAGS="-mod=readonly", GOWORK="off", CGO_ENABLED="0")
    if work is not None:
        mine["GOTMPDIR"] = str(work)
    return mine


def kept(home: Path, what: str, make: Callable[[Path, Path], None]) -> Path:
    """Return a directory of built programs; made where it is not there yet, by one process at a time.

    Args:
        home: where they lie, or will; its name says of which version.
        what: the programs, for who waits.
        make: fills a directory, its first argument; the second one is for Go's temporary files.
    """
    if home.is_dir():
        return home
    with only_one(writable(home.parent), home.name, what):
        if home.is_dir():
            return home
        remove_leftovers(home.parent)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".making-") as scratch:
            made = Path(scratch) / "made"
            make(made, Path(scratch))
            put_in_place(made, home)
    return home


def module_version(module_file: Path, module: str, what: str) -> str:
    """Read a module's version from go.mod, the one place that says it.

    Raises:
        SettingsError: it is not named there (code `WHAT-version-missing`).
    """
    found = re.search(
        rf"^\s*(?:require )?{re.escape(module)} v(\S+)", module_file.read_text("utf-8"), re.MULTILINE
    )
    if found is None:
        raise SettingsError(
            f"{module_file} does not name the version of {module}",
            code=f"{what}-version-missing",
            remedy=f"restore the file: git checkout tools/{what}/go.mod",
        )
    return found[1]


def put_in_place(made: Path, home: Path) -> None:
    """Move what is finished to where it is looked for; a reader sees all of it or nothing."""
    if home.exists():
        shutil.rmtree(home)
    made.replace(home)


def remove_leftovers(directory: Path) -> None:
    """Remove what a killed set-up left; the lock is held, so nobody works there."""
    for leftover in directory.glob(".making-*"):
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def only_one(directory: Path, version: str, what: str) -> Iterator[None]:
    """Hold the lock on one version's making; the kernel gives it back when the process dies."""
    with (directory / f".{version}.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            say(f"another set-up (process {owner}) is getting {what}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _go_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
