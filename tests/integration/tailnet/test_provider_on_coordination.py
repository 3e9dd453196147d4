"""The stand-in for the tailscale provider on the coordination server: what holds on the fake holds there as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mutx_infra.adapters.pulumi_engine import Engine as EngineBinary
from tests.integration.sandbox.engine_client import CheckFailedError, Engine
from tests.support.tailnet import API_KEY, serving_api
from tests.support.tailnet_stack import STACKS, tailnet_stack
from tests.support.tailscale_scenarios import (
    ACL,
    CASES,
    FOR_ANY_SERVER,
    SETTINGS,
    Case,
    Server,
    failure_of,
    goes_through_a_life,
    is_imported,
    policy,
    provider_for,
)

READER = {
    "id": "k1", "secret": "tskey-client-k1", "scopes": ["policy_file:read", "feature_settings:read"],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    credentials = {"api_key": API_KEY, "clients": [READER]}
    with serving_api(tmp_path_factory.mktemp("coordination"), credentials) as url:
        yield Server(url, API_KEY)


@pytest.fixture(scope="module")
def provider_port(server: Server) -> Iterator[int]:
    with provider_for(server) as port:
        yield port


@pytest.fixture
def tailscale(provider_port: int) -> Iterator[Engine]:
    engine = Engine(provider_port).configure(apiKey=API_KEY)
    yield engine
    engine.close()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_resource_goes_through_its_life(tailscale: Engine, server: Server, case: Case) -> None:
    goes_through_a_life(tailscale, server, case)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_resource_is_imported_by_its_id(tailscale: Engine, server: Server, case: Case) -> None:
    is_imported(tailscale, server, case)


@pytest.mark.parametrize("scenario", FOR_ANY_SERVER, ids=lambda scenario: scenario.__name__)
def test_what_holds_for_any_server(
    tailscale: Engine, server: Server, scenario: Callable[[Engine, Server], None]
) -> None:
    scenario(tailscale, server)


@pytest.mark.parametrize("scenario", STACKS, ids=lambda scenario: scenario.__name__)
def test_a_stack_on_the_real_engine(
    engine: EngineBinary,
    provider_port: int,
    server: Server,
    tmp_path: Path,
    scenario: Callable[..., None],
) -> None:
    scenario(tailnet_stack(engine, tmp_path, provider_port, server), server)


def test_a_client_that_may_only_read_reads_and_is_refused_the_rest(
    provider_port: int, server: Server
) -> None:
    engine = Engine(provider_port).configure(oauthClientId="k1", oauthClientSecret="tskey-client-k1")

    assert engine.import_(ACL, "acl") is not None
    assert engine.check(ACL, "r", {"acl": policy()})["acl"] == policy()
    assert "(403)" in failure_of(lambda: engine.create(SETTINGS, devicesApprovalOn=True))
    assert "Failed to set ACL" in failure_of(lambda: engine.create(ACL, acl=policy()))
    engine.close()


def test_a_policy_that_the_server_cannot_read_is_refused_with_its_words(tailscale: Engine) -> None:
    unknown = policy().replace('"tag:agent:22"', '"tag:nobody:22"')

    with pytest.raises(CheckFailedError) as caught:
        tailscale.check(ACL, "r", {"acl": unknown.replace('"src": ["tag:agent"]', '"src": ["group:none"]')})

    assert "group:none" in caught.value.failures["acl"]
