"""A Vault that is sealed by a key in the tenant's own Vault, as in production, passes without any option."""

from __future__ import annotations

import json

import pytest
from mutx_vault_verify.main import main
from tenant_vault import tenant_vault, vault_of

from mutx_infra.byok import Product, TransitSeal
from tests.support.vault import running_vault
from tests.support.vault_product import SERVERS


@pytest.fixture(scope="module", params=SERVERS)
def vault(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    if request.param is Product.VAULT:  # in tests it has no other seal
        with vault_of(request.param, tmp_path_factory.mktemp("tenant")) as made:
            yield made
        return
    with running_vault("holder") as holder:
        admin = holder.as_admin()
        admin.write("sys/mounts/transit", {"type": "transit"})
        admin.write("transit/keys/acme", {})
        seal = TransitSeal(type="transit", address=holder.url, key="acme", ca=holder.server_ca.pem)
        variables = {"VAULT_TOKEN": admin._client.token, "BAO_TOKEN": admin._client.token}
        with tenant_vault(tmp_path_factory.mktemp("tenant"), seal=seal, variables=variables) as made:
            yield made


def test_it_passes(vault, capsys):
    status = main([*vault.arguments(), "--json"])

    found = json.loads(capsys.readouterr().out)["checks"]
    assert [each for each in found if each["status"] not in ("ok", "unseen")] == []
    assert status == 0


def test_another_seal_than_was_handed_over_is_named(vault):
    verdict = vault.verify(vault=vault.hand_over("other.json", seal="awskms"))

    assert verdict.failing == {"seal": "differs", "setting sys/config/state/sanitized": "differs"}
