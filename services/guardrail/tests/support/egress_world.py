"""The egress on loopback with everything real about it: TLS, sockets, certificates, a provider; the guard is a fake."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
from authority import Authority
from fake_guard import FakeGuard
from mutx_guardrail.egress.destination import Dialer
from mutx_guardrail.egress.server import Egress
from mutx_guardrail.egress.settings import EgressSettings, read_egress_settings
from mutx_provider_double import ProviderDouble
from mutx_service.settings import TlsFiles

PROVIDER, GUARD = "provider.example", "guard.acme.internal"
AGENT, OTHER = "agent-a.acme.internal", "agent-b.acme.internal"
KEY = "sk-canary-5d0e1f7a9c3b"


@dataclass
class Journal:
    """What was written, and whether anything can be."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    is_full: bool = False

    def write(self, event: str, fields: Mapping[str, object]) -> None:
        if self.is_full:
            raise OSError(28, "no space left")
        self.lines.append({"event": event, **fields})

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


class RunningEgress:
    """The egress in a thread of its own."""

    def __init__(
        self, settings: EgressSettings, guard: FakeGuard, names: dict[str, list[str]], journal: Journal
    ) -> None:
        self._settings, self._guard, self.names, self._journal = settings, guard, names, journal
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.resolved: list[str] = []
        self.port = 0

    def __enter__(self) -> RunningEgress:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._egress.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def serving(self) -> int:
        return self._egress.serving

    async def _start(self) -> None:
        dialer = Dialer(self._settings.inner, self._settings.bounds.connect_s, self._resolve)
        self._egress = Egress(self._settings, self._guard, self._guard.admit, dialer, self._journal.write)
        _, self.port = await self._egress.start()

    async def _resolve(self, host: str, _port: int) -> list[str]:
        self.resolved.append(host)
        if host not in self.names:
            raise OSError("no such name")
        return self.names[host]

    def _do(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)


@dataclass
class World:
    own: Path
    tenant: Authority
    public: Authority
    provider: ProviderDouble
    guard: FakeGuard
    journal: Journal
    egress: RunningEgress
    files: dict[str, Path] = field(default_factory=dict)

    def certificate(self, name: str = AGENT) -> Path:
        if name not in self.files:
            self.files[name] = self.tenant.issue(name)
        return self.files[name]

    def context(self, certificate: Path | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.tenant.file))
        if certificate:
            context.load_cert_chain(certificate)
        return context

    def url(self, path: str = "") -> str:
        return f"https://127.0.0.1:{self.egress.port}{path}"

    def client(self, name: str = AGENT) -> httpx2.Client:
        return httpx2.Client(verify=self.context(self.certificate(name)), trust_env=False, timeout=30)

    def secure(self, certificate: Path | None = None) -> ssl.SSLSocket:
        """A raw connection to the egress, for what no client of HTTP would say."""
        plain = socket.create_connection(("127.0.0.1", self.egress.port), 20)
        return self.context(certificate or self.certificate()).wrap_socket(plain, server_hostname="127.0.0.1")

    def say(self, content: bytes, certificate: Path | None = None) -> bytes:
        """Send bytes, and read to the end of the connection."""
        with self.secure(certificate) as connection:
            connection.sendall(content)
            return read_all(connection)

    def connect(self, target: str = "", certificate: Path | None = None) -> tuple[bytes, ssl.SSLSocket]:
        """Ask for a tunnel; returns the head of the answer and the connection."""
        target = target or f"{PROVIDER}:{self.provider.port}"
        connection = self.secure(certificate)
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
        return read_head(connection), connection


def read_head(connection: ssl.SSLSocket) -> bytes:
    found = b""
    with suppress(OSError):
        while b"\r\n\r\n" not in found and (part := connection.recv(1)):
            found += part
    return found


def read_all(connection: ssl.SSLSocket) -> bytes:
    found = b""
    with suppress(OSError):
        while part := connection.recv(65536):
            found += part
    return found


def make_rules(provider: ProviderDouble, public: Authority) -> dict[str, Any]:
    ca = str(public.file)
    return {
        "providers": {
            "openai": {"dialect": "openai", "base_url": provider.openai_url, "ca": ca},
            "anthropic": {"dialect": "anthropic", "base_url": provider.anthropic_url, "ca": ca},
        },
        "agents": {
            "agent-a": {
                "names": [AGENT], "tunnels": [PROVIDER, "*.models.example"], "providers": ["openai", "anthropic"]},
            "agent-b": {"names": [OTHER], "providers": ["openai"]},
        },
    }  # fmt: skip


def make_settings(own: Path, tenant: Authority, rules: dict[str, Any], ports: list[int]) -> EgressSettings:
    file = own / "egress.yml"
    file.write_text(json.dumps(rules))
    server = tenant.issue(GUARD)
    prefix = "MUTX_GUARDRAIL_EGRESS_"
    settings = read_egress_settings(
        {
            f"{prefix}RULES": str(file), f"{prefix}TLS_CERTIFICATE": str(server), f"{prefix}TLS_KEY": str(server),
            f"{prefix}TLS_CLIENT_CA": str(tenant.file), f"{prefix}PORTS": " ".join(map(str, ports)),
        }
    )  # fmt: skip
    return replace(settings, port=0, inner=frozenset({ipaddress.ip_address("127.0.0.1")}))


def with_bounds(settings: EgressSettings, **bounds: int) -> EgressSettings:
    return replace(settings, bounds=replace(settings.bounds, **bounds))


def server_side(authority: Authority, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(name))
    return context


def tls_files(file: Path, ca: Path) -> TlsFiles:
    return TlsFiles(file, file, ca)
