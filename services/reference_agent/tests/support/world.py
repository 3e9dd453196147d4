"""What the integration tests share: names, the key's file, and the parts around one agent."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx2
from agent_process import AgentProcess
from authority import Authority
from egress_proxy import EgressProxy
from mutx_provider_double import ProviderDouble

FIRST_KEY = "sk-canary-4f1d8a0c9b7e-first"


_PATIENT = httpx2.Limits(keepalive_expiry=60)


@dataclass
class World:
    """What the tests of the mTLS agent share; `own` is the directory of files that the agent watches."""

    own: Path
    tenant: Authority
    provider: ProviderDouble
    proxy: EgressProxy
    agent: AgentProcess

    def client(self, certificate: Path | None = None, *, trust: Path | None = None) -> httpx2.Client:
        context = ssl.create_default_context(cafile=str(trust or self.tenant.file))
        if certificate:
            context.load_cert_chain(certificate)
        return httpx2.Client(
            base_url=self.agent.url, verify=context, trust_env=False, timeout=60, limits=_PATIENT
        )

    def guard(self) -> httpx2.Client:
        return self.client(self.tenant.issue("guard.acme.internal"))

    def write_key(self, key: str) -> None:
        write_key(self.own / "provider-key", key)


def write_key(file: Path, key: str) -> None:
    fresh = file.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o400)
    os.write(handle, f"{key}\n".encode())
    os.close(handle)
    fresh.replace(file)


def server_side(authority: Authority, name: str, client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(name))
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
