"""Has ready what machines take, e.g. before tests with time limits: `python -m mutx_sandbox.machines.image`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mutx_sandbox.daemon import Sandbox
from mutx_sandbox.machines.hosts import SandboxHosts
from mutx_sandbox.machines.machine import BackendName
from mutx_sandbox.machines.packages import SUITES

from mutx_infra.errors import MutxInfraError
from mutx_infra.settings import resolve_settings


def main() -> int:
    """Install the tools of every backend and build the image of each release; quick where all of it is there.

    A kernel of Debian 13 is fetched when somebody asks for one.
    """
    settings = resolve_settings(os.environ, Path.cwd())
    hosts = SandboxHosts(Sandbox(settings.state), settings.cache, _say)
    try:
        for backend in BackendName:
            for release in SUITES if backend is BackendName.NSPAWN else SUITES[:1]:
                hosts.prepare(backend, release)
    except MutxInfraError as error:
        _say(f"error[{error.code}]: {error.message}\n  {error.detail}\n  hint: {error.remedy}")
        return error.exit_status
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
