"""Get a certified OpenID Connect provider for the control plane's tests: `oidc-provider`, as its package has it.

The version is the one in tools/oidc_provider/package.json, what comes with it in the lock file beside it; the result
lies in the cache beside the Pulumi engine's, by version. `.venv/bin/python tools/get_oidc_provider.py` prints where on
standard output.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from console import render_error, say, signals_as_exceptions
from go_build import kept
from places import with_home

MODULE = Path(__file__).resolve().parent / "oidc_provider"

from mutx_infra.errors import MutxInfraError, OutsideError, SettingsError  # noqa: E402 -- `places` says where it lies
from mutx_infra.settings import cache_directory  # noqa: E402

SERVER = "server.mjs"
_FILES = ("package.json", "package-lock.json", SERVER)
_PACKAGE = "oidc-provider"
_DIGEST_LENGTH = 12
_LIMIT_S = 300


def main() -> int:
    """Run the tool."""
    with signals_as_exceptions():
        try:
            home = ensure_provider(with_home(os.environ))
        except MutxInfraError as error:
            say(render_error(error.code, error.message, error.detail, error.remedy))
            return error.exit_status
    say(f"{_PACKAGE} {provider_version()}: {home}")
    sys.stdout.write(f"{home}\n")
    return 0


def provider_version() -> str:
    """Read the version from package.json, the one place that says it."""
    return str(json.loads((MODULE / "package.json").read_text())["dependencies"][_PACKAGE])


def provider_home(variables: Mapping[str, str]) -> Path:
    """Return where the provider lies, or would: by its version, and by all that it is made of."""
    digest = hashlib.sha256(b"\0".join((MODULE / name).read_bytes() for name in _FILES)).hexdigest()
    return cache_directory(variables) / _PACKAGE / f"{provider_version()}-{digest[:_DIGEST_LENGTH]}"


def ensure_provider(variables: Mapping[str, str]) -> Path:
    """Return the directory of the provider, whose `server.mjs` Node runs; installed where it is not there yet.

    Raises:
        SettingsError: the cache cannot be written, or npm is missing.
        OutsideError: the packages could not be had.
    """

    def make(made: Path, _scratch: Path) -> None:
        npm = shutil.which("npm", path=variables.get("PATH"))
        if npm is None:
            raise SettingsError(
                f"npm is needed to install {_PACKAGE}, and is not on PATH",
                code="npm-missing",
                remedy="install Node.js 20 or newer with npm",
            )
        made.mkdir()
        for name in _FILES:
            shutil.copyfile(MODULE / name, made / name)
        _install(npm, made, variables)

    return kept(provider_home(variables), _PACKAGE, make)


def _install(npm: str, made: Path, variables: Mapping[str, str]) -> None:
    """Install what the lock file says and nothing else; no package runs a script of its own."""
    say(f"installing {_PACKAGE} {provider_version()} ...")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    try:
        done = subprocess.run(
            command, cwd=made, env=dict(variables), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_LIMIT_S, check=False,
        )  # fmt: skip
        detail = "" if done.returncode == 0 else "\n".join(done.stderr.splitlines()[-6:]) or "no word of why"
    except subprocess.TimeoutExpired:
        detail = f"not done in {_LIMIT_S} s"
    if detail:
        raise OutsideError(
            f"{_PACKAGE} could not be installed",
            code="npm-failed",
            detail=detail,
            remedy="check that npm can reach its packages (`npm ping`), then run the same command again",
        )


if __name__ == "__main__":
    sys.exit(main())
