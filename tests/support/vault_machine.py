"""A host of a tenant as its Vault knows it: enrolled by an administrator, with the Vault Agent and what it delivers."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mutx_infra.adapters.hvac_vault import HvacSession
from mutx_infra.adapters.vault_templates import render_agent
from mutx_infra.vault.agent import AgentPaths, AgentPlan, Delivery, key_file, key_paths
from tests.support.processes import UNTIL_PIPE_CLOSES
from tests.support.vault import BAO, RunningVault
from tests.support.vault_enrolment import enrolled

ROLE = Path(__file__).resolve().parents[2] / "playbooks" / "roles" / "vault_agent"
PROGRAM = ROLE / "files" / "mutx-vault-machine"
OWNER = "daemon" if os.getuid() == 0 else getpass.getuser()
PROVIDERS = ("openai", "anthropic")
PATIENCE_S, SLOW_S = 3, 2
"""Shorter than a host's, for what is waited for here; how often a key that is there is asked for is not."""


@dataclass
class Machine:
    """A host's programs in a folder of the test run.

    Attributes:
        secrets: where its services find what is delivered.
    """

    vault: RunningVault
    folder: Path
    name: str = "acme-agent-1"
    key: str = "agent-1"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def plan(self) -> AgentPlan:
        home, secrets = self.folder, self.secrets
        paths = AgentPaths(
            certificate=f"{home}/machine.crt",
            key=f"{home}/machine.key",
            request=f"{home}/machine.csr",
            authorities=f"{home}/ca.crt",
            runtime=f"{home}/run",
        )
        return AgentPlan(
            host=self.name,
            servers=(self.vault.url,),
            keys=tuple(
                Delivery(f"{secrets}/{key_file(provider)}", OWNER, key_paths(self.key, provider))
                for provider in PROVIDERS
            ),
            certificates=(
                Delivery(f"{secrets}/ca.pem", OWNER, (paths.service_authority,)),
                Delivery(f"{secrets}/server.pem", OWNER, (paths.service_certificate,)),
            ),
            paths=paths,
        )

    def file(self, provider: str) -> Path:
        return self.secrets / key_file(provider)

    def prepare(self) -> None:
        """Lay out what the role `vault_agent` would."""
        for place in (self.folder, self.secrets, self.folder / "run"):
            place.mkdir(exist_ok=True)
        (self.folder / "ca.crt").write_text(self.vault.server_ca.pem)
        settings = {**self.plan.settings(), "patience_s": PATIENCE_S, "slow_s": SLOW_S}
        (self.folder / "machine.json").write_text(json.dumps(settings))
        (self.folder / "agent.hcl").write_text(render_agent(self.plan))

    def does(self, action: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run one action of the host's program to its end."""
        return subprocess.run(
            self._command(action, *more), capture_output=True, text=True, timeout=30, check=False
        )

    def enroll(self, admin: HvacSession) -> None:
        """Have the host enrolled by its own request, and let it take what was signed."""
        assert self.does("request").returncode == 0
        signed = enrolled(admin, self.name, self.vault.address, self.request, agent_id=self.key)
        offered = self.folder / "offered.crt"
        offered.write_text(signed)
        done = self.does("take", str(offered))
        assert done.returncode == 0, done.stderr

    @property
    def request(self) -> str:
        return Path(self.plan.paths.request).read_text()

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the Vault Agent and what delivers; yields the agent."""
        with self._started("run", "--program", BAO) as agent, self._started("deliver"):
            yield agent

    def log(self, action: str) -> str:
        return (self.folder / f"{action}.log").read_text()

    @contextmanager
    def _started(self, action: str, *more: str) -> Iterator[subprocess.Popen[bytes]]:
        command = ["/bin/sh", "-c", UNTIL_PIPE_CLOSES, "sh", *self._command(action, *more)]
        with (self.folder / f"{action}.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.communicate(timeout=30)

    def _command(self, action: str, *more: str) -> list[str]:
        places = [f"--settings={self.folder}/machine.json", f"--configuration={self.folder}/agent.hcl"]
        return [sys.executable, str(PROGRAM), action, *more, *places]


def deposit(admin: HvacSession, path: str, value: str) -> None:
    """Put a key in as a tenant's administrator, whatever version is there."""
    found = admin.read(path.replace("/data/", "/metadata/", 1))
    version = int(found["current_version"]) if found else 0
    admin.write(path, {"options": {"cas": version}, "data": {"value": value}})
