"""The operator's part of `mutx-infra vault`, as far as no host is needed: what is taken, kept, shown and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from mutx_infra.cli.app import app
from typer.testing import CliRunner

from mutx_infra.adapters.sql_registry import SqlRegistry
from mutx_infra.errors import MutxInfraError
from mutx_infra.plan import make_plan
from mutx_infra.records import TenantRecord, TenantState
from tests.support.authorities import Authority, make_authority
from tests.support.byok import a_byok, a_receipt, a_vault
from tests.support.profiles import write_profile
from tests.support.registry import HandClock
from tests.support.specs import a_spec, outputs_of


@pytest.fixture(scope="module")
def tenant_ca() -> Authority:
    return make_authority("acme administrators")


@pytest.fixture
def profile(tmp_path: Path, tenant_ca: Authority) -> Path:
    """A profile of an environment with a tenant that awaits its claim, and one that brings nothing."""
    file = write_profile(tmp_path, (a_spec(byok=a_byok(tenant_ca)), a_spec("globex")))
    content = yaml.safe_load(file.read_text("utf-8"))
    del content["tailnet"]
    content["hosts"] = {"ca_key_file": str(tmp_path / "ssh"), "tailnet_network": "100.64.0.0/10"}
    content["vault"] = {"ca_key_file": str(tmp_path / "ca.key"), "ca_file": str(tmp_path / "ca.pem")}
    file.write_text(yaml.safe_dump(content), "utf-8")
    registry = registry_of(tmp_path)
    record = record_of(tmp_path)
    outputs = outputs_of(make_plan(record.spec, record.allocation))
    registry.update("acme", state=TenantState.AWAITING_CLAIM, outputs=outputs, vault=a_vault())
    return file


def registry_of(folder: Path) -> SqlRegistry:
    return SqlRegistry(f"sqlite:///{folder}/registry.db", HandClock())


def record_of(folder: Path) -> TenantRecord:
    found = registry_of(folder).tenant("acme")
    assert found is not None
    return found


def ask(profile: Path, *arguments: str) -> Result:
    variables = {"MUTX_INFRA_STATE": str(profile.parent / "state")}
    return CliRunner().invoke(app, [*arguments, "-e", str(profile)], env=variables)


def refusal(done: Result) -> MutxInfraError:
    assert isinstance(done.exception, MutxInfraError), done.output
    return done.exception


def test_a_claim_that_the_tenant_signed_makes_it_ready(profile: Path, tenant_ca: Authority) -> None:
    receipt = profile.with_name("acme.claim.json")
    receipt.write_text(a_receipt(tenant_ca, profile.parent, "vault-claim"))

    done = ask(profile, "vault", "handed-over", "acme", "-f", str(receipt), "--json")
    shown = ask(profile, "tenant", "show", "acme", "--json")

    assert json.loads(done.stdout)["state"] == "ready"
    assert record_of(profile.parent).is_handed_over
    assert json.loads(shown.stdout)["vault"]["handed_over_at"] is not None
    assert (profile.parent / "state/vault/trial/acme/claim-receipt.json").read_text() == receipt.read_text()


def test_a_list_says_who_is_awaited(profile: Path) -> None:
    listed = json.loads(ask(profile, "tenant", "list", "--json").stdout)["tenants"]
    shown = ask(profile, "tenant", "show", "acme").stdout

    assert {each["tenant"]: each["state"] for each in listed} == {
        "acme": "awaiting-claim",
        "globex": "reserved",
    }
    assert "its tenant's claim is awaited" in shown


def test_a_receipt_that_cannot_be_read_is_named(profile: Path) -> None:
    done = ask(profile, "vault", "handed-over", "acme", "-f", str(profile.with_name("none.json")))

    assert refusal(done).code == "vault-file-unreadable"


def test_certificates_come_from_files_and_folders_and_a_folder_without_one_is_refused(profile: Path) -> None:
    empty = profile.with_name("certificates")
    empty.mkdir()
    none = ask(profile, "vault", "certificates", "acme", "-f", str(empty))
    (empty / "acme-agent-1.pem").write_text("hello")

    early = ask(profile, "vault", "certificates", "acme", "-f", str(empty))

    assert refusal(none).code == "certificates-none"
    assert refusal(early).code == "vault-not-handed-over"


@pytest.mark.parametrize(
    ("seal", "code"), [(None, "byok-missing"), ("transit", "seal-token-missing")], ids=["nothing", "no token"]
)
def test_a_vault_that_cannot_come_up_is_refused_before_a_host_is_asked(
    profile: Path, tenant_ca: Authority, seal: str | None, code: str
) -> None:
    transit = {"type": "transit", "address": "https://vault.acme.example:8200", "key": "mutx"}
    spec = a_spec("globex", **({"byok": {**a_byok(tenant_ca), "seal": transit}} if seal else {}))
    registry = registry_of(profile.parent)
    record = registry.update("globex", spec=spec)
    registry.update("globex", outputs=outputs_of(make_plan(record.spec, record.allocation)))
    profile.with_name("ssh.pub").write_text("ssh-ed25519 AAAA")

    done = ask(profile, "vault", "init", "globex")

    assert refusal(done).code == code


def test_a_profile_without_an_authority_cannot_hand_over(profile: Path) -> None:
    content = yaml.safe_load(profile.read_text("utf-8"))
    del content["vault"]
    profile.write_text(yaml.safe_dump(content), "utf-8")

    done = ask(profile, "vault", "handed-over", "acme", "-f", str(profile))

    assert refusal(done).code == "vault-ca-missing"
