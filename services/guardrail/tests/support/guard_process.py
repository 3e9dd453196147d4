"""The guardrail's service as a process: what an operator starts, told by its environment alone."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2

SCRIPT = Path(sys.executable).parent / "mutx-guardrail"
PREFIX = "MUTX_GUARDRAIL_"


def until(holds: Callable[[], bool], *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class GuardProcess:
    """One service; `lines` is all that it said, once it has ended.

    Args:
        own: a directory for its output.
        settings: the variables by the rest of their names.
        before: a command that runs it, as `ip netns exec …`.
    """

    def __init__(self, own: Path, settings: dict[str, str] | None = None, before: Sequence[str] = ()) -> None:
        self.log = own / "guard.log"
        variables = {f"{PREFIX}{name}": value for name, value in ({"PORT": "0"} | (settings or {})).items()}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*before, str(SCRIPT), "serve"],
                env={"PATH": os.environ["PATH"], **variables},
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd="/",
            )  # fmt: skip
        self.url = ""

    def wait(self) -> GuardProcess:
        """Wait until it listens."""
        until(lambda: any(line.get("event") == "listening" for line in self.lines), within_s=60)
        told = next(line for line in self.lines if line.get("event") == "listening")
        self.url = f"{'https' if told['mtls'] else 'http'}://127.0.0.1:{told['port']}"
        return self

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def client(self, certificate: Path | None = None, trust: Path | None = None) -> httpx2.Client:
        verify: ssl.SSLContext | bool = False
        if trust:
            verify = ssl.create_default_context(cafile=str(trust))
            if certificate:
                verify.load_cert_chain(certificate)
        return httpx2.Client(base_url=self.url, verify=verify, trust_env=False, timeout=60)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)
