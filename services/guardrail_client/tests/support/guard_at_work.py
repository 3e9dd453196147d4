"""The guardrail as an operator runs it: its console script on loopback, with the built-in policy and models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from authority import Authority
from mutx_guardrail_client import Settings, TlsFiles

SCRIPT = Path(sys.executable).parent / "mutx-guardrail"
READY_LIMIT_S = 120
AGENT, CERTIFICATE_NAME = "agent-a", "agent-a.acme.internal"


class GuardProcess:
    """A process that was started, and its output so far; `url` once it listens."""

    def __init__(self, directory: Path, variables: Mapping[str, str] | None = None) -> None:
        self._output = directory / "output"
        environment = {"PATH": os.environ["PATH"], "MUTX_GUARDRAIL_PORT": "0", **(variables or {})}
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [str(SCRIPT), "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd="/",
            )  # fmt: skip
        listening = self._wait_for("listening")
        self.url = f"{'https' if listening['mtls'] else 'http'}://127.0.0.1:{listening['port']}"

    @property
    def output(self) -> str:
        return self._output.read_text()

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(30)

    def _wait_for(self, name: str) -> dict[str, Any]:
        deadline = time.monotonic() + READY_LIMIT_S
        while True:
            lines = self.output.splitlines(keepends=True)
            for event in (json.loads(line) for line in lines if line.endswith("\n")):
                if event["event"] == name:
                    return event
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)


class Tenant:
    """A tenant's certificates, and a guard and an agent that hold one each."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory, "tenant")
        self._server = self.authority.issue("guard.acme.internal", into=directory / "server.pem")
        self.file = self.authority.issue(CERTIFICATE_NAME, into=directory / "agent.pem")

    def variables(self) -> dict[str, str]:
        return {
            "MUTX_GUARDRAIL_TLS_CERTIFICATE": str(self._server), "MUTX_GUARDRAIL_TLS_KEY": str(self._server),
            "MUTX_GUARDRAIL_TLS_CLIENT_CA": str(self.authority.file),
            "MUTX_GUARDRAIL_CALLERS": "control-plane.acme.internal",
            "MUTX_GUARDRAIL_AGENTS": f"{AGENT}={CERTIFICATE_NAME} agent-b=agent-b.acme.internal",
        }  # fmt: skip

    def settings(self, url: str, agent: str = AGENT, file: Path | None = None) -> Settings:
        own = file or self.file
        return Settings(url, TlsFiles(own, own, self.authority.file), agent)
