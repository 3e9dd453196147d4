"""Get the Pulumi engine: keep a good one, else the official installer, else a build of its Go module.

Run by `make setup` with the virtual environment's Python. The version is the one in tools/pulumi/go.mod; the
result lies in the cache (MUTX_INFRA_CACHE, else ~/.cache/mutx-infra), outside the checkout and by version.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from console import Progress, render_error, run_watched, say, signals_as_exceptions
from go_build import GoProgram, build, only_one, put_in_place, remove_leftovers
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
from mutx_infra.errors import MutxInfraError, SettingsError  # noqa: E402
from mutx_infra.settings import cache_directory  # noqa: E402

PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION_SYMBOL = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"

# The installer downloads about 150 MB. A network that swallows packets is noticed by the shorter limit.
INSTALLER_LIMIT_S = 600
CONNECT_LIMIT_S = 15


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
    with only_one(writable(cache / "pulumi"), version, "the engine"):
        # Another set-up may have made it while this one waited.
        if (engine := _working_engine(cache, variables)) is not None:
            return engine
        remove_leftovers(home.parent)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".making-") as scratch:
            made = Path(scratch) / "engine"
            reason = _install(made, version, variables)
            if reason is not None:
                say(f"the official installer gave no engine ({reason}); building it from its Go module")
                target = made / "bin" / "pulumi"
                build(
                    _program(version), target, Path(scratch), variables,
                    lambda: _tells_version(target, version, variables),
                )  # fmt: skip
            put_in_place(made, home)
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


def _program(version: str) -> GoProgram:
    return GoProgram(
        module=MODULE,
        package=PACKAGE,
        title=f"the Pulumi engine {version}",
        duration="3 to 6 minutes on 2 cores, once",
        flags=("-ldflags", f"-s -w -X {VERSION_SYMBOL}={version}"),
        code="engine",
        otherwise=(
            ", or install Pulumi yourself (https://www.pulumi.com/docs/install/); then run `make setup` again"
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
