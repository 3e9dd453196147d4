"""What a CI pipeline does: plain `pulumi` in a project, with config and environment alone."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mutx_infra.adapters.pulumi_engine import Engine


@dataclass(frozen=True)
class Pipeline:
    """Plain `pulumi` in a generated project, as a job runs it."""

    engine: Engine
    directory: Path
    env: Path

    def run(self, *arguments: str, expect: int = 0) -> str:
        script = f'set -a; . "{self.env}"; exec "$@"'
        command = [str(self.engine.path), "--non-interactive", "-C", str(self.directory), *arguments]
        done = subprocess.run(
            ["/bin/bash", "-c", script, "bash", *command],
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == expect, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr
