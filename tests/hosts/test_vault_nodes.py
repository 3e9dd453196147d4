"""Three Vault hosts by the playbook, sealed by a key in a Vault that the tenant runs elsewhere: on real machines."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from mutx_infra.errors import MutxInfraError
from mutx_infra.vault.hosts import VaultHost
from mutx_infra.vault.places import OWN_AUTHORITY
from tests.support.vault_hosts import Tenant, vault_hosts
from tests.support.vault_machine import deposit
from tests.support.waiting import until

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

NAMES = ("trial-1", "trial-2", "trial-3")
KEY = "byok/data/shared/openai"


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with vault_hosts(tmp_path_factory.mktemp("nodes"), *NAMES) as made:
        yield made


@pytest.fixture(scope="module")
def standing(tenant: Tenant) -> Tenant:
    """Twice, as `vault init` does it: once the hosts have made their authorities, each is told of the others."""
    first = tenant.converge()
    assert "[vault-waits]" in first.text
    tenant.known_by.update({name: tenant.root(name, f"cat {OWN_AUTHORITY}") + "\n" for name in NAMES})
    for name in NAMES:
        tenant.playbook.told[name]["vault_peer_authorities"] = [
            text for other, text in tenant.known_by.items() if other != name
        ]
    tenant.converge()
    return tenant


def test_all_three_are_one_vault_and_a_further_run_changes_nothing(standing: Tenant) -> None:
    deadline = time.monotonic() + 60
    while standing.voters() != set(NAMES):
        assert time.monotonic() < deadline, standing.voters()
        time.sleep(0.5)

    again = standing.converge()

    assert again.changed() == dict.fromkeys(NAMES, 0)


def test_a_lost_leader_loses_nothing_and_comes_back(standing: Tenant) -> None:
    leader = standing.leader()
    standing.there(lambda: deposit(standing.enter(leader), KEY, "sk-before"))

    standing.root(leader.name, "systemctl kill -s KILL openbao; systemctl stop openbao")
    after = standing.leader()
    held = standing.there(lambda: standing.enter(after).read(KEY))
    standing.there(lambda: deposit(standing.enter(after), KEY, "sk-after"))
    standing.root(leader.name, "systemctl start openbao; /usr/libexec/mutx/mutx-vault wait 60")
    # It is open at once, and hands requests on as soon as it has heard from the one that leads.
    until(lambda: value_at(standing, leader) == "sk-after", "the one that was lost does not catch up", 60)

    assert after.name != leader.name
    assert held is not None
    assert held["data"]["value"] == "sk-before"


def value_at(tenant: Tenant, machine: VaultHost) -> str:
    """Return what a node says that the key is; empty where it does not serve."""
    try:
        found = tenant.there(lambda: tenant.enter(machine).read(KEY))
    except MutxInfraError:
        return ""
    return str(found["data"]["value"]) if found else ""


def test_it_stays_closed_while_the_tenant_s_own_vault_is_away(standing: Tenant) -> None:
    name = standing.leader().name
    standing.own.stop()
    standing.root(name, "systemctl restart --no-block openbao; sleep 8")
    closed = standing.root(name, "/usr/libexec/mutx/mutx-vault wait 1 2>&1 || true")

    standing.there(standing.own.start)
    standing.root(name, "/usr/libexec/mutx/mutx-vault wait 120")

    assert "not there after 1 s" in closed
    assert standing.there(lambda: standing.enter(standing.leader()).read(KEY)) is not None


def test_a_seal_without_its_token_is_named(standing: Tenant) -> None:
    name = NAMES[2]
    standing.root(
        name, "mv /etc/openbao/seal-token /root/seal-token; systemctl restart --no-block openbao; sleep 4"
    )
    said = standing.root(name, "journalctl -u openbao -n 20 -o cat --no-pager")

    standing.root(name, "mv /root/seal-token /etc/openbao/seal-token; /usr/libexec/mutx/mutx-vault wait 120")

    assert "/etc/openbao/seal-token holds no token" in said
