"""Get the Pulumi engine: keep a good one, else the official installer, else a build of its Go module.

Run by `make setup` with the virtual environment's Python. The version is the one in tools/pulumi/go.mod; the
result lies in the cache (MUTX_INFRA_CACHE, else ~/.cache/mutx-infra), outside the checkout and by version.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from console import Progress, render_error, run_watched, say, signals_as_exceptions
from places import with_home, writable

ROOT = Path(__file__).resolve().parent.parent
MODULE = ROOT / "tools" / "pulumi"
sys.path.insert(0, str(ROOT))

from mutx_infra.adapters.pulumi_engine import (  # noqa: E402 -- works before the package is installed
    Engine,
    cached_engine_path,
    find_engine,
    version_variables,
)
from mutx_infra.errors import MutxInfraError, OutsideError, SettingsError  # noqa: E402
from mutx_infra.settings import cache_directory  # noqa: E402

PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION_SYMBOL = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"

# The installer downloads about 150 MB. A network that swallows packets is noticed by the shorter limit.
INSTALLER_LIMIT_S = 600
CONNECT_LIMIT_S = 15
BUILD_LIMIT_S = 3600

# The first Go that fetches the toolchain a module asks for.
OLDEST_GO = (1, 21)


def main(arguments: list[str]) -> int:
    """Run the tool; `--official-installer ROOT VERSION` is the part that runs under a time limit."""
    if arguments[:1] == ["--official-installer"]:
        return _run_official_installer(*arguments[1:])
    with signals_as_exceptions():
        try:
            engine = ensure_engine(with_home(os.environ))
        except MutxInfraError as error:
            say(render_error(error.code, error.message, error.detail, error.remedy))
            return error.exit_status
    say(f"Pulumi engine {engine.version}: {engine.path}")
    return 0


def engine_version(module_file: Path = MODULE / "go.mod") -> str:
    """Read the engine's version from go.mod, the one place that says it."""
    required = re.compile(r"^\s*github\.com/pulumi/pulumi/pkg/v3 v(\S+)", re.MULTILINE)
    found = required.search(module_file.read_text("utf-8"))
    if found is None:
        raise SettingsError(
            f"{module_file} does not name the engine's version",
            code="engine-version-missing",
            remedy="restore the file: git checkout tools/pulumi/go.mod",
        )
    return found[1]


def ensure_engine(variables: Mapping[str, str]) -> Engine:
    """Return an engine that runs, and get one first where there is none.

    Raises:
        SettingsError: the cache cannot be written, or Go is missing or too old.
        OutsideError: neither the installer nor the build gave an engine.
    """
    cache = cache_directory(variables)
    if (engine := _working_engine(cache, variables)) is not None:
        return engine
    version = engine_version()
    home = cached_engine_path(cache, version).parent.parent
    with _only_one(writable(cache / "pulumi"), version):
        # Another set-up may have made it while this one waited.
        if (engine := _working_engine(cache, variables)) is not None:
            return engine
        _remove_leftovers(home.parent)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".making-") as scratch:
            made = Path(scratch) / "engine"
            reason = _install(made, version, variables)
            if reason is not None:
                say(f"the official installer gave no engine ({reason}); building it from its Go module")
                _build(made, Path(scratch), version, variables)
            _put_in_place(made, home)
    return find_engine(cache, variables.get("PATH", ""))


def _working_engine(cache: Path, variables: Mapping[str, str]) -> Engine | None:
    """Return the engine that the toolkit would choose; a cached one that does not run is taken away."""
    try:
        engine = find_engine(cache, variables.get("PATH", ""))
    except SettingsError:
        return None
    if engine.source != "cache" or _tells_version(engine.path, engine.version, variables):
        return engine
    say(f"the cached engine {engine.path} is damaged; getting it again")
    shutil.rmtree(engine.path.parent.parent)
    return _working_engine(cache, variables)


def _tells_version(program: Path, version: str, variables: Mapping[str, str]) -> bool:
    home = variables.get("HOME")
    try:
        answer = subprocess.run(
            [str(program), "version"],
            env=version_variables(variables.get("PATH", ""), Path(home) if home else None),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.stdout.decode(errors="replace").strip().removeprefix("v") == version


def _install(made: Path, version: str, variables: Mapping[str, str]) -> str | None:
    """Run the official installer; return None on success, else the reason in a few words."""
    progress = Progress(f"getting the Pulumi engine {version} with the official installer")
    progress.begin()
    outcome = run_watched(
        [sys.executable, str(Path(__file__).resolve()), "--official-installer", str(made), version],
        variables=variables,
        directory=ROOT,
        progress=progress,
        limit_s=INSTALLER_LIMIT_S,
    )
    progress.close()
    if outcome.status == 0 and _tells_version(made / "bin" / "pulumi", version, variables):
        return None
    shutil.rmtree(made, ignore_errors=True)
    if outcome.status is None:
        return f"no end after {INSTALLER_LIMIT_S} s"
    return outcome.tail[-1][:160] if outcome.tail else f"exit status {outcome.status}"


def _run_official_installer(root: str, version: str) -> int:
    # Imported here: only this step needs the SDK, and importing it takes longer than the rest of a warm run.
    from pulumi.automation import PulumiCommand  # noqa: PLC0415
    from semver import VersionInfo  # noqa: PLC0415

    socket.setdefaulttimeout(CONNECT_LIMIT_S)
    try:
        PulumiCommand.install(root=root, version=VersionInfo.parse(version))
    except subprocess.CalledProcessError as error:
        said = error.output.decode(errors="replace").strip().splitlines() if error.output else []
        print(said[-1] if said else f"the install script ended with status {error.returncode}")
        return 1
    except OSError as error:
        print(f"not reachable: {error}")
        return 1
    return 0


def _build(made: Path, scratch: Path, version: str, variables: Mapping[str, str]) -> None:
    """Build the engine into `made/bin`; go.sum decides what the module may contain."""
    go = _usable_go(variables)
    work = scratch / "go-tmp"
    work.mkdir()
    (made / "bin").mkdir(parents=True)
    compiled = 0

    def count(line: str) -> str | None:
        nonlocal compiled
        if line.startswith("go: downloading "):
            return f"downloading {line.split()[2]}"
        compiled += 0 if line.startswith(("go: ", "#")) else 1
        return f"{compiled} packages compiled"

    progress = Progress(f"building the Pulumi engine {version} with Go (3 to 6 minutes on 2 cores, once)")
    progress.begin()
    outcome = run_watched(
        [
            go, "build", "-v", "-trimpath", "-buildvcs=false",
            "-ldflags", f"-s -w -X {VERSION_SYMBOL}={version}",
            "-o", str(made / "bin" / "pulumi"), PACKAGE,
        ],
        variables=_go_variables(variables, work),
        directory=MODULE,
        progress=progress,
        limit_s=BUILD_LIMIT_S,
        note_of=count,
    )  # fmt: skip
    if outcome.status != 0 or not _tells_version(made / "bin" / "pulumi", version, variables):
        progress.close()
        raise OutsideError(
            "the Pulumi engine could not be built",
            code="engine-build-failed",
            detail="\n".join(outcome.tail[-6:]) or f"exit status {outcome.status}",
            remedy=(
                "check that Go can reach its modules (`go env GOPROXY`) and that the disk has 4 GB free, or "
                "install Pulumi yourself (https://www.pulumi.com/docs/install/); then run `make setup` again"
            ),
        )
    progress.end("done")


def _usable_go(variables: Mapping[str, str]) -> str:
    """Return the Go command.

    Raises:
        SettingsError: Go is missing, or too old and not allowed to fetch the version that go.mod asks for.
    """
    wanted = re.search(r"^go (\S+)", (MODULE / "go.mod").read_text("utf-8"), re.MULTILINE)
    needed = wanted[1] if wanted else "1.25"
    remedy = (
        f"install Go {needed} or newer (https://go.dev/dl/), or Pulumi itself "
        "(https://www.pulumi.com/docs/install/); then run `make setup` again"
    )
    go = shutil.which("go", path=variables.get("PATH", ""))
    if go is None:
        raise SettingsError(
            "Go is needed to build the Pulumi engine, and is not on PATH", code="go-missing", remedy=remedy
        )
    answer = subprocess.run(
        [go, "env", "GOVERSION", "GOTOOLCHAIN"],
        env=_go_variables(variables, None),
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
            f"{have or 'the Go on PATH'} is too old to build the Pulumi engine, which needs Go {needed}",
            code="go-too-old",
            detail=f"at {go}, with GOTOOLCHAIN={toolchain.strip() or 'unknown'}",
            remedy=remedy,
        )
    return go


def _go_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _go_variables(variables: Mapping[str, str], work: Path | None) -> dict[str, str]:
    """Return Go's environment: go.sum enforced, no workspace or target of the caller's, own scratch space."""
    alien = {"GOFLAGS", "GOWORK", "GOOS", "GOARCH", "GOARM", "GOAMD64", "GOEXPERIMENT", "GOTMPDIR"}
    mine = {key: value for key, value in variables.items() if key not in alien}
    mine.update(GOFLAGS="-mod=readonly", GOWORK="off", CGO_ENABLED="0")
    if work is not None:
        mine["GOTMPDIR"] = str(work)
    return mine


def _put_in_place(made: Path, home: Path) -> None:
    """Move the finished engine to where it is looked for; a reader sees all of it or nothing."""
    if home.exists():
        shutil.rmtree(home)
    made.replace(home)


def _remove_leftovers(directory: Path) -> None:
    """Remove what a killed set-up left; the lock is held, so nobody works there."""
    for leftover in directory.glob(".making-*"):
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _only_one(directory: Path, version: str) -> Iterator[None]:
    """Hold the lock on one version's making; the kernel gives it back when the process dies."""
    with (directory / f".{version}.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            say(f"another set-up (process {owner}) is getting the engine; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
