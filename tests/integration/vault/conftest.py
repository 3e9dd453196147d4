"""A tenant's Vault for each module: the real server, unclaimed, with two agents and a database host enrolled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mutx_infra.adapters.hvac_vault import HvacSession
from tests.support.vault import RunningVault, running_vault
from tests.support.vault_people import Host, deposit, enroll, token_of


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


@pytest.fixture(scope="module")
def vault() -> Iterator[RunningVault]:
    with running_vault() as running:
        yield running


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
