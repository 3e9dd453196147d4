"""The Pulumi engine as the Automation API runs it, but supervised, time-limited and in a scrubbed environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pulumi.automation import CommandResult, PulumiCommand
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from mutx_infra.adapters.supervised import SupervisedCommands


class SupervisedEngine(PulumiCommand):
    """Runs engine commands by `SupervisedCommands`; the engine saves its state when it is asked to stop.

    Args:
        path: the engine's executable.
        version: its version, without `v`.
        environment: the whole environment of every command.
        limit_s: after this many seconds a command is asked to stop.

    Attributes:
        path_variable: the PATH of every command that is not given another.
    """

    def __init__(self, path: Path, version: str, environment: Mapping[str, str], *, limit_s: float) -> None:
        # The base class would run `pulumi version` (0.14 s) and let our whole environment through.
        self.command = str(path)
        self.version = VersionInfo.parse(version)
        # Plugins that came with the engine lie beside it.
        self.path_variable = f"{path.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
        self._environment = {**environment, "PATH": self.path_variable}
        self._commands = SupervisedCommands(limit_s=limit_s)

    def bound_to_lease(self, silence_s: float) -> AbstractContextManager[Callable[[], None]]:
        """Within the context, commands end unless the yielded `beat` is called every `silence_s` seconds."""
        return self._commands.bound_to_lease(silence_s)

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> CommandResult:
        """Run one command to its end.

        Raises:
            pulumi.automation.CommandError: it failed.
            KeyboardInterrupt: after Ctrl-C, once the engine has finished its calls and saved its state.
        """
        command = [self.command, "--non-interactive", *args]
        environment = {**self._environment, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        ended = self._commands.run(command, cwd, environment, on_output, on_error)
        result = CommandResult(ended.stdout, ended.stderr, ended.status)
        if result.code:
            raise create_command_error(result)
        return result
