"""What the tenant's own commands make is what the release says: claim, enrolment, deposit, and taking a host out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tenant_vault import AGENT, GUARD, TenantVault

from tests.support.authorities import signing_request
from tests.support.vault_product import SERVERS, server_of


@pytest.fixture(scope="module", params=SERVERS)
def vault(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantVault]:
    with server_of(request.param) as server:
        yield TenantVault(server, tmp_path_factory.mktemp("tenant"))


def test_each_command_leaves_a_lawful_vault(vault):
    ann, holder = vault.begin()
    machines = tuple(
        machine.model_copy(update={"request": signing_request(ann.folder, machine.name)[0]})
        for machine in vault.handover().machines
    )
    ann.hand_over(vault.handover(machines=machines))
    found = {"begin": vault.verify()}

    for name, arguments, given in (
        ("claim", ["claim", "acme", "--pgp-key", holder.public.name], None),
        ("claim-again", ["claim", "acme", "--pgp-key", holder.public.name], None),
        ("enroll", ["enroll", "acme", AGENT, GUARD, "--yes"], None),
        ("deposit", ["deposit", "acme", "--agent", "agent-1", "openai"], "sk-not-a-key-of-anybody\n"),
        ("revoke", ["revoke", "acme", "--machine", GUARD], None),
    ):
        ann.run(*arguments, given=given)
        found[name] = vault.verify()

    assert {name: verdict.failing for name, verdict in found.items()} == {name: {} for name in found}
    assert found["enroll"].details(f"machine {GUARD}") == "enrolled"
    assert found["revoke"].details(f"machine {GUARD}") == "not enrolled"
