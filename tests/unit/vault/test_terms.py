"""What hosts are told of a tenant's Vault: nothing before it can start, then all that was collected and signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutx_infra.adapters.ansible_inventory import render_inventory
from mutx_infra.bootstrap import vault_files, vault_terms
from mutx_infra.bootstrap_custody import require_token_file
from mutx_infra.errors import SettingsError
from mutx_infra.inventory import Inventory, make_inventory, variables_of
from mutx_infra.plan import make_plan
from mutx_infra.records import TenantRecord
from mutx_infra.settings import Settings
from mutx_infra.vault.hosts import VaultTerms
from tests.support.byok import a_byok, a_vault
from tests.support.custody import VaultYard
from tests.support.specs import a_spec

TRANSIT = {"type": "transit", "address": "https://vault.acme.example:8200", "key": "mutx"}


@pytest.fixture
def yard(tmp_path: Path) -> VaultYard:
    made = VaultYard(tmp_path)
    made.identity()
    access = {"ca_key_file": str(tmp_path / "platform.key"), "ca_file": str(tmp_path / "platform.pem")}
    environment = made.world.environment.model_dump(mode="json", exclude_none=True)
    environment["registry"]["url"] = "sqlite:////registry.db"
    made.world.environment = type(made.world.environment).model_validate({**environment, "vault": access})
    return made


def settings_of(yard: VaultYard) -> Settings:
    return Settings(state=yard.folder / "state", cache=yard.folder, project=None, environment_file=None)


def terms_of(
    yard: VaultYard, record: TenantRecord | None = None, token: Path | None = None
) -> VaultTerms | None:
    return vault_terms(settings_of(yard), yard.world.environment, token, record or yard.record)


def inventory_of(yard: VaultYard, terms: VaultTerms | None) -> Inventory:
    record = yard.record
    return make_inventory(make_plan(record.spec, record.allocation), record.outputs, vault=terms)


def test_a_tenant_that_brings_nothing_has_hosts_without_a_vault(yard: VaultYard) -> None:
    assert terms_of(yard, yard.record.model_copy(update={"spec": a_spec()})) is None


def test_so_it_is_where_the_profile_names_no_authority(yard: VaultYard) -> None:
    yard.world.environment = yard.world.environment.model_copy(update={"vault": None})

    assert terms_of(yard) is None


class TestTransit:
    @pytest.fixture
    def record(self, yard: VaultYard) -> TenantRecord:
        spec = a_spec(byok={**a_byok(yard.tenant_ca), "seal": TRANSIT})
        return yard.world.registry.update("acme", spec=spec)

    def test_a_vault_that_waits_for_its_token_is_not_started(
        self, yard: VaultYard, record: TenantRecord
    ) -> None:
        assert terms_of(yard, record) is None

    def test_the_token_s_file_is_named_to_the_vault_s_hosts_alone(
        self, yard: VaultYard, record: TenantRecord
    ) -> None:
        token = yard.folder / "seal.token"
        token.write_text("s.secret-of-the-tenant")

        terms = terms_of(yard, record, token)
        told = {host.key: variables_of(host, "acme") for host in inventory_of(yard, terms).hosts}

        assert {key for key, said in told.items() if "vault_seal_token_file" in said} == {"vault-1"}
        assert told["vault-1"]["vault_seal_token_file"] == str(token)
        assert "secret-of-the-tenant" not in render_inventory(
            inventory_of(yard, terms), yard.folder / "ssh_config"
        )

    def test_a_vault_that_was_made_has_its_token(self, yard: VaultYard, record: TenantRecord) -> None:
        made = record.model_copy(update={"vault": a_vault()})

        terms = terms_of(yard, made)

        assert terms is not None
        assert terms.seal_token_file == ""


def test_hosts_are_told_what_was_collected_and_what_the_tenant_signed(yard: VaultYard) -> None:
    files = vault_files(settings_of(yard), yard.world.environment)
    files.keep_authorities("acme", {"acme-vault-1": yard.server_ca.pem})
    files.keep_certificate("acme", "acme-agent-1", "signed for agent-1")

    told = {host.key: variables_of(host, "acme") for host in inventory_of(yard, terms_of(yard)).hosts}

    assert told["agent-1"]["vault_agent_authorities"] == yard.server_ca.pem
    assert told["agent-1"]["vault_agent_certificate"] == "signed for agent-1"
    assert told["guard-1"]["vault_agent_certificate"] == ""
    assert "vault_agent_authorities" not in told["mgmt-1"]


def test_the_vault_s_host_lets_its_own_port_be_looked_at_and_no_other_host_does(yard: VaultYard) -> None:
    told = {host.key: variables_of(host, "acme") for host in inventory_of(yard, terms_of(yard)).hosts}

    assert told["vault-1"]["sshd_permit_open"] == ["127.0.0.1:8200"]
    assert {key for key, said in told.items() if "127.0.0.1:8200" in str(said["sshd_permit_open"])} == {
        "vault-1"
    }


class TestTokenFile:
    def test_one_that_is_its_owner_s_alone_is_taken(self, tmp_path: Path) -> None:
        token = tmp_path / "seal.token"
        token.touch(mode=0o600)
        token.write_text("s.x")

        assert require_token_file(token) == token

    @pytest.mark.parametrize(("mode", "text"), [(0o644, "s.x"), (0o600, "")], ids=["open", "empty"])
    def test_one_that_others_read_or_that_holds_nothing_is_refused(
        self, tmp_path: Path, mode: int, text: str
    ) -> None:
        token = tmp_path / "seal.token"
        token.write_text(text)
        token.chmod(mode)

        with pytest.raises(SettingsError) as refused:
            require_token_file(token)

        assert refused.value.code == "seal-token-unreadable"

    def test_one_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError):
            require_token_file(tmp_path / "seal.token")
