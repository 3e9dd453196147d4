"""A Vault as the release makes it passes: before the claim, after it, with hosts enrolled and everybody at work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mutx_vault_verify.report import CANNOT_ATTEST
from tenant_vault import AGENT, GUARD, TenantVault, tenant_vault, vault_of

from mutx_infra.byok import Product
from tests.support.vault_product import SERVERS


@pytest.fixture
def vault(tmp_path):
    with tenant_vault(tmp_path) as made:
        yield made


@pytest.fixture(params=SERVERS)
def either(request, tmp_path):
    """Yield a Vault on each server."""
    with vault_of(request.param, tmp_path) as made:
        yield made


def test_it_passes_in_each_lawful_state(either):
    vault = either
    at_work = vault.server.as_onboarder()

    unclaimed = vault.verify()
    at_work.end()
    vault.claim()
    claimed = vault.verify()
    agent = vault.enroll(AGENT, is_agent=True)
    vault.enroll(GUARD, is_agent=False)
    sessions = [vault.server.vault.login(agent, AGENT), vault.server.as_operator()]
    enrolled = vault.verify()

    states = [(each.status, each.document["state"], each.failing) for each in (unclaimed, claimed, enrolled)]
    assert states == [(0, "unclaimed", {}), (0, "claimed", {}), (0, "claimed", {})]
    assert enrolled.details("tokens") == f"1 of {AGENT}, 1 of mutx-operator, 1 of tenant-admin"
    assert enrolled.details("machine acme-agent-2") == "not enrolled"
    assert enrolled.details(f"machine {AGENT}") == "enrolled"
    assert enrolled.details("platform's authority").endswith("as in the hand-over file")
    for session in sessions:
        session.end()


def test_a_server_passes_for_no_other(either):
    other = next(product for product in Product if product is not either.product)

    verdict = either.verify(vault=either.hand_over("other.json", product=other))

    assert verdict.status == 6
    assert {"server product", "server version", "engine byok/", "plugin secret/kv"} <= verdict.failing.keys()


def test_it_leaves_nothing_behind(either):
    with either.as_admin() as admin:
        before = admin.list("auth/token/accessors")

        either.verify()

        assert admin.list("auth/token/accessors") == before


def test_the_console_script_says_what_it_does_not_attest(vault):
    script = Path(sys.executable).parent / "mutx-vault-verify"

    done = subprocess.run(
        [script, *vault.arguments(), "--allow-trial-seal"],
        capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL, env={},
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert all(limit in done.stdout for limit in CANNOT_ATTEST)
    assert "ok        policy tenant-admin" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("The Vault is as the release says (")


def test_it_asks_by_the_variables_that_the_tenant_s_other_commands_know(vault, monkeypatch):
    monkeypatch.setenv("VAULT_CLIENT_CERT", str(vault.certificate.certificate))
    monkeypatch.setenv("VAULT_CLIENT_KEY", str(vault.certificate.key))
    monkeypatch.setenv("VAULT_ADDR", vault.server.url.replace("127.0.0.1", "localhost"))

    verdict = vault.verify(cert=None, key=None)

    assert (verdict.status, verdict.document["facts"]["vault"].split(":")[1]) == (0, "//localhost")


def test_a_seal_for_trials_is_none_of_the_tenant_s_own(vault, capsys):
    from mutx_vault_verify.main import main  # noqa: PLC0415 - without the option that the others' helper adds

    status = main([*vault.arguments(), "--json"])

    found = json.loads(capsys.readouterr().out)["checks"]
    assert status == 6
    assert [each["name"] for each in found if each["status"] != "ok"] == ["seal"]


def test_a_manifest_may_name_the_platform_s_authority(vault: TenantVault):
    other = vault.release.sign(vault.manifest(platform_authorities=["0" * 64]), "other.json")
    platform_ca = vault.folder / "platform.pem"
    platform_ca.write_text(vault.server.platform_ca.pem)

    refused = vault.verify(manifest=other)
    told = vault.verify(manifest=other, platform_ca=platform_ca)

    assert refused.failing == {"platform's authority": "differs"}
    assert told.status == 0
