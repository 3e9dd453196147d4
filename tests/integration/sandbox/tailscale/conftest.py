"""The fake of Tailscale's API, a provider for it, and engines; in place of what is there for AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.sandbox.engine_client import Engine
from tests.support.tailscale_fake import API_KEY, FakeTailscale, fake_tailscale
from tests.support.tailscale_scenarios import (
    Server,
    provider_for,
)


@pytest.fixture
def fake() -> Iterator[FakeTailscale]:
    with fake_tailscale() as found:
        yield found


@pytest.fixture
def server(fake: FakeTailscale) -> Server:
    return Server(fake.url, API_KEY)


@pytest.fixture
def provider_port(server: Server) -> Iterator[int]:
    with provider_for(server) as port:
        yield port


@pytest.fixture
def engine_of(provider_port: int) -> Iterator[Callable[..., Engine]]:
    """Makes engines connected to the provider, configured with the API key unless told otherwise."""
    engines: list[Engine] = []

    def make(*, configure: bool = True, **config: Any) -> Engine:
        engine = Engine(provider_port)
        engines.append(engine)
        return engine.configure(**{"apiKey": API_KEY, **config}) if configure else engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def tailscale(engine_of: Callable[..., Engine]) -> Engine:
    return engine_of()
