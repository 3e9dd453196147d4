"""One egress for all, between agents with certificates and a provider over TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from authority import Authority
from egress_world import PROVIDER, Journal, RunningEgress, World, make_rules, make_settings, server_side
from fake_guard import FakeGuard
from mutx_provider_double import ProviderDouble


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    own = tmp_path_factory.mktemp("egress")
    tenant, public = Authority(own, "tenant"), Authority(own, "public")
    with ProviderDouble(tls=server_side(public, PROVIDER)) as provider:
        settings = make_settings(own, tenant, make_rules(provider, public), [provider.port])
        guard, journal = FakeGuard(), Journal()
        with RunningEgress(settings, guard, {PROVIDER: ["127.0.0.1"]}, journal) as egress:
            yield World(own, tenant, public, provider, guard, journal, egress)


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.provider.forget()
    shared_world.guard.forget()
    shared_world.journal.lines.clear()
    shared_world.journal.is_full = False
    shared_world.egress.names.clear()
    shared_world.egress.names[PROVIDER] = ["127.0.0.1"]
    shared_world.egress.resolved.clear()
    return shared_world
