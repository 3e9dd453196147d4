"""The sandbox's tailnet: a coordination server on loopback, with the part of Tailscale's API that the stack uses."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path

from mutx_sandbox.machines.recipe import COORDINATION_ADDRESS
from mutx_sandbox.private_files import write_private
from mutx_sandbox.processes import module_command

from mutx_infra.errors import OutsideError, SettingsError

NAME = "mutx.test"
"""What the server calls its one tailnet."""
OPERATOR = "alice@mutx.example"
"""Who runs the platform here."""


class SandboxTailnet:
    """What the server, the provider for it and the profile need to know; files lie in the sandbox's folder."""

    def __init__(self, folder: Path) -> None:
        self._key_file, self._credentials_file = (
            folder / "tailnet-api-key",
            folder / "tailnet-credentials.json",
        )

    def server(self, program: Path, leash: Path) -> list[str]:
        """Return the server's command, which ends without `leash`; a key of its own is made for it."""
        key = f"tskey-api-{secrets.token_urlsafe(24)}"
        write_private(self._key_file, key)
        write_private(self._credentials_file, json.dumps({"api_key": key}))
        return [
            str(program), "-port", "0", "-api-port", "0", "-advertise", COORDINATION_ADDRESS,
            "-credentials", str(self._credentials_file), "-end-without", str(leash),
        ]  # fmt: skip

    def provider(self, api_port: int, leash: Path | None) -> list[str]:
        """Return the command of the provider that engines ask for resources of the tailnet.

        It ends without `leash`; with None it is a plugin, which ends with the engine that starts it.
        """
        ends = ["--plugin"] if leash is None else ["--end-without", str(leash)]
        return module_command(
            "mutx_sandbox.tailscale", "--endpoint", f"http://127.0.0.1:{api_port}", "--tailnet", NAME,
            "--credentials", str(self._credentials_file), *ends,
        )  # fmt: skip

    def profile(self, api_url: str, control_port: int, relay_port: int) -> dict[str, object]:
        """Return the profile's part about the tailnet."""
        return {
            "name": NAME,
            "api_url": api_url,
            "api_key_file": str(self._key_file),
            # Where machines find it; it is forwarded from there.
            "login_server": f"http://{COORDINATION_ADDRESS}:{control_port}",
            "coordination": [f"{COORDINATION_ADDRESS}:{port}" for port in (control_port, relay_port)],
            "operators": [OPERATOR],
        }


def coordination_program(checkout: Path | None) -> Path:
    """Return the coordination server's program, built where it is not yet: it is part of a checkout.

    Raises:
        SettingsError: there is no checkout here (code `project-missing`).
        OutsideError: it cannot be built (code `tailnet-programs-missing`); what the tool said stands above.
    """
    tool = (checkout or Path()) / "tools" / "get_tailnet.py"
    if checkout is None or not tool.is_file():
        raise SettingsError(
            "there is no checkout here, and the tailnet's server is built from one",
            code="project-missing",
            remedy="run this in a checkout, or leave `--tailnet` out",
        )
    command = [sys.executable, str(tool)]
    made = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode != 0:
        raise OutsideError(
            "the tailnet's server could not be built",
            code="tailnet-programs-missing",
            remedy="see above; it needs Go (docs/how-to), or leave `--tailnet` out",
        )
    return Path(made.stdout.strip(), "coordination")
