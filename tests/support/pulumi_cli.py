"""The `pulumi` command line on one stack, as an operator without this toolkit has it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutx_sandbox.project import Written


@dataclass
class Pulumi:
    """The `pulumi` command line on one stack."""

    binary: Path
    project: Written
    stack: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        path = f"{self.binary.parent}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.project.directory), **self.project.variables, **self.variables}

    @property
    def command(self) -> list[str]:
        return [str(self.binary), "-C", str(self.project.directory), "--non-interactive", "--color", "never"]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *arguments, "--stack", self.stack],
            env=self.env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def up(self, *arguments: str, check: bool = True) -> str:
        done = self.run("up", "--yes", "--skip-preview", *arguments, check=check)
        return done.stdout + done.stderr

    def set(self, **config: str) -> None:
        values = [
            text
            for name, value in config.items()
            for text in ("--plaintext", f"{name.replace('_', '-')}={value}")
        ]
        self.run("config", "set-all", *values)

    def outputs(self) -> dict[str, Any]:
        return json.loads(self.run("stack", "output", "--json", "--show-secrets").stdout)

    def state(self) -> str:
        return self.run("stack", "export").stdout

    def resources(self) -> list[str]:
        """The types of what the state holds, but for the stack and providers."""
        held = json.loads(self.state())["deployment"].get("resources") or []
        return [each["type"] for each in held if not each["type"].startswith("pulumi:")]
