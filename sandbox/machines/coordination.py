"""The tailnet of machines that join a coordination server: how they reach it, and the node by which the toolkit does.

The server listens on this machine's loopback. Each network of machines has it at a link-local address, as it has AWS;
its relay (DERP) lies behind the same. The toolkit's own node has a network of its own, with these services alone in it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mutx_sandbox.machines.kernel import inside
from mutx_sandbox.machines.network import NAMESPACES
from mutx_sandbox.private_files import write_private

from mutx_infra.errors import OutsideError
from mutx_infra.naming import CONVERGE_TAG

NETWORK, SUBNET, ADDRESS = "converge", "10.63.254.0/24", "10.63.254.10/24"
"""The network of the toolkit's node, and where that is in it: tailscaled wants a network that is up."""
NODE = "converge-node"
_HOSTNAME = "converge"
_READY_WITHIN_S, _SEEN_WITHIN_S = 20.0, 20.0
_CONNECT_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class CoordinationPorts:
    """Ports of the server on 127.0.0.1: of the control protocol and of DERP."""

    control: int
    relay: int

    def __iter__(self) -> Iterator[int]:
        """Yield both."""
        return iter((self.control, self.relay))


@dataclass
class ConvergeNode:
    """The node from which hosts of the tailnet are reached.

    Attributes:
        folder: for its state and its socket.
        programs: where `tailscale` and `tailscaled` are.
        login_server: as nodes have it.
        mint: makes a key for one tag.
    """

    folder: Path
    programs: Path
    login_server: str
    mint: Callable[[str], str]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Join; the network is there already.

        Raises:
            OutsideError: it does not come up (code `laboratory-start-failed`).
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = [
            str(self.programs / "tailscaled"), f"--statedir={self.folder}", f"--socket={self._socket}", "--port=41641",
            "--no-logs-no-support",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = inside(
                NAMESPACES / NODE,
                lambda: subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log),
            )
        key = self.folder / "key"
        write_private(key, self.mint(CONVERGE_TAG))
        try:
            self._until(_READY_WITHIN_S, lambda: self._client("status", "--json").returncode == 0)
            joined = self._client(
                "up", f"--auth-key=file:{key}", f"--login-server={self.login_server}", f"--hostname={_HOSTNAME}",
                "--netfilter-mode=off", "--accept-dns=false", "--timeout=20s",
            )  # fmt: skip
            if joined.returncode != 0:
                raise self._failed(joined.stderr.strip())
        finally:
            key.unlink()

    def connect(self, host: str, port: int) -> socket.socket:
        """Connect to a host of the tailnet by its name."""
        address = self._address_of(host)
        return inside(NAMESPACES / NODE, lambda: socket.create_connection((address, port), _CONNECT_LIMIT_S))

    @property
    def _socket(self) -> Path:
        return self.folder / "s"

    def _address_of(self, host: str) -> str:
        found: list[str] = []

        def is_seen() -> bool:
            status = json.loads(self._client("status", "--json").stdout or "{}")
            peers = (status.get("Peer") or {}).values()
            found.extend(str(peer["TailscaleIPs"][0]) for peer in peers if peer["HostName"] == host)
            return bool(found)

        try:
            self._until(_SEEN_WITHIN_S, is_seen)
        except OutsideError as exc:
            raise OSError(f"{host} is not seen in the tailnet") from exc
        return found[0]

    def _until(self, within_s: float, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > deadline:
                raise self._failed("it does not answer")
            time.sleep(0.1)

    def _client(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.programs / "tailscale"), f"--socket={self._socket}", *arguments]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def _failed(self, detail: str) -> OutsideError:
        return OutsideError(
            "the toolkit's node of the tailnet did not come up",
            code="laboratory-start-failed",
            remedy=f"read {self.folder / 'log'}, then run `mutx-infra sandbox up --hosts` again",
            detail=detail,
        )
