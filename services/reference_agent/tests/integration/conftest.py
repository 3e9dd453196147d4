"""One world for all: a provider over TLS, the guard's egress proxy, and an agent between them that speaks mTLS."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from agent_process import AgentProcess
from authority import Authority
from egress_proxy import EgressProxy
from mutx_provider_double import ProviderDouble
from world import FIRST_KEY, World, server_side, write_key


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    own = tmp_path_factory.mktemp("agent")
    tenant, public = Authority(own, "tenant"), Authority(own, "public")
    (own / "state").mkdir()
    write_key(own / "provider-key", FIRST_KEY)
    tenant.issue("agent-a.acme.internal", into=own / "server.pem")
    tenant.issue("agent-a.acme.internal", into=own / "egress.pem")
    with (
        ProviderDouble(tls=server_side(public, "provider.example")) as provider,
        EgressProxy(server_side(tenant, "guard.acme.internal", tenant.file)) as proxy,
    ):
        agent = AgentProcess(
            own / "process",
            {
                "MUTX_AGENT_NAME": "agent-a", "MUTX_AGENT_PROVIDER": "openai", "MUTX_AGENT_MODEL": "model-1",
                "MUTX_AGENT_BASE_URL": provider.openai_url, "MUTX_AGENT_PROVIDER_CA": str(public.file),
                "MUTX_AGENT_KEY_FILE": str(own / "provider-key"), "MUTX_AGENT_STATE": str(own / "state"),
                "MUTX_AGENT_TLS_CERTIFICATE": str(own / "server.pem"), "MUTX_AGENT_TLS_KEY": str(own / "server.pem"),
                "MUTX_AGENT_TLS_CLIENT_CA": str(tenant.file), "MUTX_AGENT_CALLERS": "guard.acme.internal",
                "MUTX_AGENT_PROXY": proxy.url, "MUTX_AGENT_PROXY_CERTIFICATE": str(own / "egress.pem"),
                "MUTX_AGENT_PROXY_KEY": str(own / "egress.pem"), "MUTX_AGENT_PROXY_CA": str(tenant.file),
                "MUTX_AGENT_CALL_RETRIES": "0", "MUTX_AGENT_CALL_LIMIT_S": "4", "MUTX_AGENT_MAX_STEPS": "3",
                # A caller of LangChain's own tracing service would be found out: nothing listens there.
                "LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": f"{provider.anthropic_url}/langsmith",
                "LANGSMITH_API_KEY": "made-up", "OPENAI_LOG": "debug",
            },
        )  # fmt: skip
        agent.wait_for("loaded")
        yield World(own, tenant, provider, proxy, agent)
        assert agent.stop() == 0


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.provider.forget()
    return shared_world


@pytest.fixture
def guard(world: World) -> Iterator[httpx2.Client]:
    with world.guard() as client:
        yield client
