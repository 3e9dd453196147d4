"""A checkout whose sandbox has a tailnet, and somebody who uses the tailnet's API beside the toolkit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.support.checkout import ROOT, Checkout


class Tailnet:
    """Both."""

    def __init__(self, checkout: Checkout) -> None:
        self.checkout = checkout
        self.profile = yaml.safe_load((checkout.root / ".mutx/sandbox/environment.yaml").read_text("utf-8"))
        # Nodes of this machine find it here; machines of the sandbox where the profile says.
        self.login_server = checkout.json("sandbox", "status")["endpoints"]["tailscale_login"]
        self.key = Path(self.profile["tailnet"]["api_key_file"]).read_text("ascii")

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        url = f"{self.profile['tailnet']['api_url']}/api/v2/{path}"
        answer = requests.request(method, url, auth=(self.key, ""), timeout=10, **more)
        answer.raise_for_status()
        return answer

    def policy(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(
            "GET", "tailnet/-/acl", headers={"Accept": "application/json"}
        ).json()
        return found

    def put(self, policy: dict[str, Any]) -> None:
        """Write a policy as anybody may, on no condition."""
        self.ask("POST", "tailnet/-/acl", json=policy)

    def listed(self, what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", f"tailnet/-/{what}?all=true").json()[what]
        return found

    def devices(self) -> dict[str, dict[str, Any]]:
        """By the names that they joined with."""
        return {device["hostname"]: device for device in self.listed("devices")}

    def identities(self) -> list[dict[str, Any]]:
        return [key for key in self.listed("keys") if key["keyType"] == "federated"]

    def register(self, *tenants: str) -> None:
        """Put tenants into the registry, as `tenant create` does before anything else."""
        code = (
            "import sys\n"
            "from mutx_infra.adapters.sql_registry import SqlRegistry\n"
            "from mutx_infra.bootstrap import SystemClock\n"
            "from tests.support.specs import a_spec, an_allocation\n"
            "registry = SqlRegistry(sys.argv[1], SystemClock())\n"
            "for name in sys.argv[2:]:\n"
            "    spec = a_spec(name)\n"
            "    block = f'10.9.{len(registry.tenants())}.0/24'\n"
            "    registry.reserve(spec, lambda _, s=spec, b=block: an_allocation(s, b))\n"
        )
        url = self.profile["registry"]["url"]
        subprocess.run([sys.executable, "-c", code, url, *tenants], cwd=ROOT, check=True)
