"""`StateBackend` by the engine's own commands: init, export, import, change-secrets-provider, rename, rm."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi import automation as auto

from mutx_infra.adapters.engine_command import SupervisedEngine
from mutx_infra.adapters.engine_failure import failure_of, stake_of
from mutx_infra.adapters.file_backend import without_sidecars
from mutx_infra.adapters.pulumi_events import EventCollector, plain
from mutx_infra.adapters.pulumi_recovery import parse_lock
from mutx_infra.adapters.stack_settings import PASSPHRASE, write_yaml
from mutx_infra.environment import PulumiBackend
from mutx_infra.errors import OutsideError, SettingsError
from mutx_infra.tenant import PLATFORM_ID


class PulumiBackendStacks:
    """The stacks of one project at one backend.

    Args:
        engine: runs the commands.
        backend: URL and secrets provider.
        project: the project's name.
        work_dir: a directory of this backend's own; settings files of its stacks are kept there.
    """

    def __init__(
        self, engine: SupervisedEngine, backend: PulumiBackend, project: str, work_dir: Path
    ) -> None:
        self._engine, self._backend, self._work_dir = engine, backend, work_dir
        self._project = project

    @property
    def url(self) -> str:
        """Where the states are."""
        return self._backend.backend_url

    def stacks(self) -> frozenset[str]:
        """Return the names of the project's stacks."""
        listed = json.loads(self._run("stack", "ls", "--json"))
        return frozenset(str(found["name"]).rsplit("/", 1)[-1] for found in listed)

    def begin(self, stack: str) -> None:
        """Make an empty stack, in place of one of that name."""
        if stack in self.stacks():
            self.remove(stack)
        self._run("stack", "init", stack, "--secrets-provider", self._backend.secrets_provider)

    def sealed(self, stack: str) -> bytes:
        """Return a stack's state as the engine exports it."""
        return self._run("stack", "export", "--stack", stack).encode()

    def opened(self, stack: str) -> Mapping[str, Any]:
        """Return a stack's deployment with its secrets open; it stays in memory."""
        exported = json.loads(self._run("stack", "export", "--show-secrets", "--stack", stack))
        return dict(exported.get("deployment") or {})

    def load(self, stack: str, sealed: bytes) -> None:
        """Import a state into a stack, and change its secrets provider to this backend's own.

        Raises:
            SettingsError: a passphrase shall replace a key (code `secrets-provider-unsupported`): the engine asks for
                one on a terminal only.
        """
        provider = json.loads(sealed)["deployment"].get("secrets_providers") or {}
        must_seal = not self._seals_like(provider)
        if must_seal and self._backend.secrets_provider == PASSPHRASE:
            raise SettingsError(
                "a state under a key cannot be put under a passphrase without a terminal",
                code="secrets-provider-unsupported",
                remedy="name a key with `--secrets-provider awskms://…`, or move it by hand with plain `pulumi`",
            )
        file = self._work_dir / f"{stack}.json"
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(sealed)
            self._run("stack", "import", "--stack", stack, "--file", str(file))
        finally:
            file.unlink(missing_ok=True)
        if must_seal:
            self._run("stack", "change-secrets-provider", self._backend.secrets_provider, "--stack", stack)

    def rename(self, old: str, new: str) -> None:
        """Give a stack another name; the engine writes it into every URN."""
        self._run("stack", "rename", new, "--stack", old)

    def remove(self, stack: str) -> None:
        """Forget a stack; what it describes is not touched."""
        self._run("stack", "rm", stack, "--force", "--yes")

    def _seals_like(self, provider: Mapping[str, Any]) -> bool:
        if self._backend.secrets_provider == PASSPHRASE:
            return provider.get("type") in {None, PASSPHRASE}
        return (provider.get("state") or {}).get("url") == self._backend.secrets_provider

    def _run(self, *command: str) -> str:
        home = self._work_dir / "home"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        url = without_sidecars(self._backend.backend_url)
        project = {"name": self._project, "runtime": "python", "backend": {"url": url}}
        write_yaml(self._work_dir / "Pulumi.yaml", project)
        variables = {"PULUMI_BACKEND_URL": url, "PULUMI_HOME": str(home)}
        try:
            return self._engine.run(list(command), str(self._work_dir), variables).stdout
        except auto.CommandError as exc:
            if parse_lock(str(exc)):
                raise failure_of(stake_of(PLATFORM_ID), EventCollector(), exc) from exc
            errors = [line for line in str(exc).splitlines() if "error:" in line] or [str(exc)]
            raise OutsideError(
                f"`pulumi {' '.join(command[:2])}` failed at {url}: {plain(errors[0])[:400]}",
                code="state-backend-failed",
                remedy="check that the bucket and the key are there and may be used, then run the same command again",
            ) from exc
