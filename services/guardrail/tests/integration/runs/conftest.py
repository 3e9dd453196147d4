"""The whole path: a caller with a certificate, the guard, the reference agent as a process, its provider's double."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from authority import Authority
from mutx_guardrail.policy import Policy
from mutx_guardrail.service.settings import AgentAddress, Settings
from mutx_provider_double import ProviderDouble
from mutx_service.settings import TlsFiles
from running_guard import Journal, RunningGuard

# Appended, so that nothing installed is shadowed.
sys.path.append(str(Path(__file__).resolve().parents[4] / "reference_agent/tests/support"))

from agent_process import AgentProcess
from world import write_key

CONTROL, GUARD, AGENT = "control-plane.mutx.internal", "guard.acme.internal", "agent-a.acme.internal"


@dataclass
class Way:
    """The parts of the way, but for the guard."""

    own: Path
    tenant: Authority
    provider: ProviderDouble
    agent: AgentProcess

    def settings(self, **changed: object) -> Settings:
        server, client = self.tenant.issue(GUARD), self.tenant.issue(GUARD)
        given = {
            "tls": TlsFiles(server, server, self.tenant.file),
            "agent_tls": TlsFiles(client, client, self.tenant.file),
            "callers": frozenset({CONTROL}),
            "agents": {"agent-a": AgentAddress(AGENT, self.agent.url)},
            "run_s": 20.0,
        }
        return Settings(**(given | changed))  # type: ignore[arg-type] # a test names fields of its own

    def client(self, url: str, name: str = CONTROL) -> httpx2.Client:
        return httpx2.Client(base_url=url, verify=self._context(name), trust_env=False, timeout=60)

    def socket(self, guard: RunningGuard) -> ssl.SSLSocket:
        """A raw connection of the control plane's."""
        plain = socket.create_connection(("127.0.0.1", guard.port), 20)
        return self._context(CONTROL).wrap_socket(plain, server_hostname="127.0.0.1")

    def _context(self, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.tenant.file))
        context.load_cert_chain(self.tenant.issue(name))
        return context


@pytest.fixture(scope="session")
def shared_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    own = tmp_path_factory.mktemp("path")
    tenant = Authority(own, "tenant")
    (own / "state").mkdir()
    write_key(own / "key", "sk-canary-0b1c2d3e4f5a")
    server = str(tenant.issue(AGENT))
    with ProviderDouble() as provider:
        agent = AgentProcess(
            own / "process",
            {
                "MUTX_AGENT_NAME": "agent-a", "MUTX_AGENT_PROVIDER": "openai", "MUTX_AGENT_MODEL": "model-1",
                "MUTX_AGENT_BASE_URL": provider.openai_url, "MUTX_AGENT_KEY_FILE": str(own / "key"),
                "MUTX_AGENT_STATE": str(own / "state"), "MUTX_AGENT_TLS_CERTIFICATE": server,
                "MUTX_AGENT_TLS_KEY": server, "MUTX_AGENT_TLS_CLIENT_CA": str(tenant.file),
                "MUTX_AGENT_CALLERS": GUARD, "MUTX_AGENT_CALL_RETRIES": "0",
            },
        )  # fmt: skip
        agent.wait_for("loaded")
        yield Way(own, tenant, provider, agent)
        assert agent.stop() == 0


@pytest.fixture
def way(shared_way: Way) -> Way:
    shared_way.provider.forget()
    (shared_way.own / "state/paused").unlink(missing_ok=True)
    return shared_way


@pytest.fixture
def guard(way: Way) -> Iterator[RunningGuard]:
    running = RunningGuard(way.settings(), Policy.model_validate({"anomaly": {"requests": 100_000}}))
    yield running
    running.stop()


@pytest.fixture
def caller(way: Way, guard: RunningGuard) -> Iterator[httpx2.Client]:
    with way.client(guard.url) as client:
        yield client


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal().kept() as kept:
        yield kept
