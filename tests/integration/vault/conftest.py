"""A tenant's Vault for each module: the real server, unclaimed, with two agents and a database host enrolled.

Tests of modules that take it run on OpenBao, and in the long form on HashiCorp's server as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mutx_infra.adapters.hvac_vault import HvacSession
from mutx_infra.byok import Product
from tests.support.administrator import Administrator
from tests.support.vault import RunningVault
from tests.support.vault_people import Host, deposit, enroll, token_of
from tests.support.vault_product import SERVERS, begin, server_of


@dataclass(frozen=True)
class Tenant:
    """What there is to attack. Keys lie in it for both agents, and one that they share.

    Attributes:
        admin: a session of the tenant's administrator.
    """

    vault: RunningVault
    admin: HvacSession
    first: Host
    second: Host
    database: Host

    @property
    def admin_token(self) -> str:
        return token_of(self.admin)


@pytest.fixture(scope="module", params=SERVERS)
def vault(request: pytest.FixtureRequest) -> Iterator[RunningVault]:
    with server_of(request.param) as running:
        begin(Administrator(running, running.folder / "ann"))
        yield running


@pytest.fixture
def openbao_alone(vault: RunningVault) -> None:
    """For what OpenBao alone holds; docs/how-to/run-a-vault.md says what HashiCorp's server does instead."""
    if vault.product is Product.VAULT:
        pytest.skip("HashiCorp's server does otherwise: docs/how-to/run-a-vault.md, what each server gives")


@pytest.fixture(scope="module")
def tenant(vault: RunningVault) -> Tenant:
    admin = vault.as_admin()
    made = Tenant(
        vault,
        admin,
        enroll(vault, admin, "acme-agent-1", agent_id="agent-1"),
        enroll(vault, admin, "acme-agent-2", agent_id="agent-2"),
        enroll(vault, admin, "acme-database-1"),
    )
    deposit(admin, "agents/agent-1/openai", "sk-of-the-first")
    deposit(admin, "agents/agent-2/openai", "sk-of-the-second")
    deposit(admin, "shared/anthropic", "sk-of-all")
    return made
