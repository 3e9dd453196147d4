"""The agent as an operator runs it: its console script, a directory of its own, everything it says kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

SCRIPT = Path(sys.executable).parent / "mutx-reference-agent"
READY_LIMIT_S = 120


class AgentProcess:
    """A process that was started, and its output so far; `url` once it listens."""

    def __init__(self, directory: Path, variables: Mapping[str, str]) -> None:
        directory.mkdir(exist_ok=True)
        self.directory, self._output = directory, directory / "output"
        environment = {"PATH": os.environ["PATH"], "MUTX_AGENT_PORT": "0", **variables}
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                [str(SCRIPT)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
            )
        listening = self.wait_for("listening")
        scheme = "https" if listening["mtls"] else "http"
        self.url = f"{scheme}://127.0.0.1:{listening['port']}"

    @property
    def output(self) -> str:
        return self._output.read_text()

    def events(self, name: str = "") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.output.splitlines()]
        return [each for each in found if name in ("", each["event"])]

    def wait_for(self, name: str, *, more_than: int = 0) -> dict[str, Any]:
        """Wait until the process has said one more of an event than `more_than`."""
        deadline = time.monotonic() + READY_LIMIT_S
        while len(found := self.events(name)) <= more_than:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)
        return found[-1]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=30)


def run_body(text: str, **more: object) -> dict[str, Any]:
    return {"json": {"input": text, **more}}


def sse(response: httpx2.Response) -> list[tuple[str, dict[str, Any]]]:
    """Read a stream of events to its end."""
    found, name = [], ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            found.append((name, json.loads(line[6:])))
    return found
