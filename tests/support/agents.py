"""What stands around an agent on a host: its wheel, certificates and key, the guard before it, the provider behind."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mutx_provider_double import ProviderDouble
from mutx_sandbox.machines.kernel import inside

from tests.support.checkout import ROOT
from tests.support.machines import Hosts, Visitor

AGENT = ROOT / "services/reference_agent"
KIT = ROOT / "services/service_kit"
sys.path += [str(AGENT / "tests/support"), str(KIT / "tests/support")]

from authority import Authority  # noqa: E402
from egress_proxy import EgressProxy  # noqa: E402

KEY = "sk-canary-77c1e02f9d55-agent"
SECRETS = "/run/mutx-agent-secrets"
NAME, GUARD = "agent-1.trial.internal", "guard-1.trial.internal"
PROXY_PORT = 8444


@cache
def build_wheel(into: Path, version: str = "", service: Path = AGENT) -> Path:
    """Build a service's wheel; the same source gives the same bytes."""
    source = into / f"source-{service.name}-{version}"
    shutil.copytree(
        service, source, ignore=shutil.ignore_patterns("build", "tests", "*.egg-info", "__pycache__")
    )
    if version:
        project = source / "pyproject.toml"
        text = project.read_text("utf-8")
        project.write_text(text.replace('version = "0.1.0"', f'version = "{version}"'), "utf-8")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(into / "dist"), str(source)],
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}, capture_output=True, check=True,
    )  # fmt: skip
    return next((into / "dist").glob(f"mutx_{service.name}-{version or '0.1.0'}-*.whl"))


@dataclass(frozen=True)
class Surroundings:
    """The guard's namespace, its egress proxy, the provider, and who signs certificates."""

    hosts: Hosts
    guard: Visitor
    tenant: Authority
    public: Authority
    provider: ProviderDouble
    proxy: EgressProxy

    def variables(self, wheel: Path, guard: str) -> dict[str, Any]:
        """What the role is told; `guard` is the guard's address."""
        reach = {
            "port": PROXY_PORT,
            "protocol": "tcp",
            "destination": f"{guard}/32",
            "comment": "egress proxy",
        }
        return {
            "ansible_become": True, "mutx_role": "agent",
            "agent_runtime_address": str(self.hosts.state("trial-1").machine.wire.address),
            "agent_runtime_wheel": str(wheel),
            "agent_runtime_companions": [str(build_wheel(wheel.parent.parent, service=KIT))],
            "agent_runtime_lock": str(AGENT / "requirements.lock"),
            "agent_runtime_provider": "openai", "agent_runtime_model": "model-1",
            "agent_runtime_base_url": self.provider.openai_url, "agent_runtime_provider_ca": "/etc/mutx-public-ca.pem",
            "agent_runtime_proxy": f"https://{GUARD}:{PROXY_PORT}", "agent_runtime_callers": [GUARD],
            "agent_runtime_peers": [f"{guard}/32"], "agent_runtime_limits": {"CALL_RETRIES": 0},
            "base_hosts": [{"address": guard, "names": [GUARD]}],
            "ufw_outgoing_policy": "deny",
            # More than the agent may: what it does not reach is then its account's limit.
            "ufw_outgoing_rules": [{**reach, "port": port, "destination": "0.0.0.0/0"} for port in (80, PROXY_PORT)],
            "ufw_outgoing_accounts": [{"uid": 960, "comment": "agent", "rules": [reach]}],
        }  # fmt: skip

    def deliver(self, name: str) -> None:
        """Put key and certificates where the Vault Agent would."""
        own = {
            "server.pem": self.tenant.issue(NAME).read_bytes(),
            "egress.pem": self.tenant.issue(NAME).read_bytes(),
            "ca.pem": self.tenant.file.read_bytes(),
            "provider-key": f"{KEY}\n".encode(),
        }
        for file, content in own.items():
            put(self.hosts, name, f"{SECRETS}/{file}", content, "-o mutx-agent -g mutx-agent -m 0400")

    def ask(
        self, path: str, body: object = None, *, method: str = "", certificate: Path | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send a request to the agent from the guard's namespace; returns the status and the document."""
        context = ssl.create_default_context(cafile=str(self.tenant.file))
        if certificate:
            context.load_cert_chain(certificate)
        address = str(self.hosts.state("trial-1").machine.wire.address)
        plain = inside(self.guard.place, lambda: socket.create_connection((address, 8080), 30))
        with context.wrap_socket(plain, server_hostname=NAME) as secure:
            connection = http.client.HTTPConnection(NAME)
            connection.sock = secure
            headers = {"Content-Type": "application/json"} if body is not None else {}
            text = None if body is None else json.dumps(body)
            connection.request(method or ("POST" if text else "GET"), path, text, headers)
            answer = connection.getresponse()
            document: dict[str, Any] = json.loads(answer.read())
            return answer.status, document

    @property
    def guard_certificate(self) -> Path:
        return guard_certificate(self.tenant)


@cache
def guard_certificate(tenant: Authority) -> Path:
    return tenant.issue(GUARD)


def put(hosts: Hosts, name: str, path: str, content: bytes, options: str, tenant: str = "trial") -> None:
    """Put a file on a host."""
    text = base64.b64encode(content).decode()
    hosts.answer(name, f"echo {text} | base64 -d | sudo install {options} /dev/stdin {path}", tenant)


def server_side(authority: Authority, name: str, client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(name))
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def listening_at(visitor: Visitor, address: str, port: int) -> socket.socket:
    """Listen in a visitor's namespace."""
    return inside(visitor.place, lambda: socket.create_server((address, port)))
