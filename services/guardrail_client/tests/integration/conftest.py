"""One guardrail without and one with mTLS for all tests, each with the models that it ships."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from guard_at_work import AGENT, GuardProcess, Tenant
from mutx_guardrail_client import GuardClient, Settings


@pytest.fixture(scope="session")
def plain_guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardProcess]:
    process = GuardProcess(tmp_path_factory.mktemp("plain"))
    yield process
    assert process.stop() == 0


@pytest.fixture(scope="session")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Tenant:
    return Tenant(tmp_path_factory.mktemp("tenant"))


@pytest.fixture(scope="session")
def mtls_guard(tmp_path_factory: pytest.TempPathFactory, tenant: Tenant) -> Iterator[GuardProcess]:
    process = GuardProcess(tmp_path_factory.mktemp("mtls"), tenant.variables())
    yield process
    assert process.stop() == 0


@pytest.fixture
def guard(plain_guard: GuardProcess) -> Iterator[GuardClient]:
    with GuardClient(Settings(plain_guard.url)) as client:
        yield client


@pytest.fixture
def named_guard(plain_guard: GuardProcess, request: pytest.FixtureRequest) -> Iterator[GuardClient]:
    """Ask for an agent that no other test asks for: what is counted is this test's."""
    name = f"{AGENT}-{abs(hash(request.node.name)) % 10**9}"
    with GuardClient(Settings(plain_guard.url, agent=name)) as client:
        yield client
