"""`vault shred`: afterwards the Vault holds nothing, and a copy of its storage that was taken before does not open."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mutx_infra.adapters.x509 import check_receipt
from mutx_infra.byok import TransitSeal
from mutx_infra.errors import MutxInfraError, RefusedError
from mutx_infra.vault.receipt import Receipt
from tests.support.administrator import Administrator, handover_of
from tests.support.checkout import ROOT
from tests.support.vault import READY_WITHIN_S, RunningVault, running_vault

CANARY = "sk-canary-51b84c067f3a9d2e"
SEAL_POLICY = 'path "transit/+/acme" { capabilities = ["update"] }'
DELETION_POLICY = 'path "transit/keys/acme*" { capabilities = ["read", "update", "delete"] }'


@pytest.fixture(scope="module")
def own() -> Iterator[RunningVault]:
    """The tenant's own Vault, with the key that seals the one on the platform."""
    with running_vault("tenant") as made:
        made.as_admin().write("sys/mounts/transit", {"type": "transit"})
        yield made


@pytest.fixture
def sealed_by(own: RunningVault) -> TransitSeal:
    own.as_admin().write("transit/keys/acme", {})
    return TransitSeal(type="transit", address=own.url, key="acme", ca=own.server_ca.pem)


@pytest.fixture
def vault(own: RunningVault, sealed_by: TransitSeal) -> Iterator[RunningVault]:
    with running_vault(seal=sealed_by, variables={"VAULT_TOKEN": token(own, SEAL_POLICY)}) as made:
        restart(made)
        yield made


@pytest.fixture
def ann(vault: RunningVault, own: RunningVault, sealed_by: TransitSeal, tmp_path: Path) -> Administrator:
    made = Administrator(vault, tmp_path / "ann")
    made.hand_over(handover_of(vault).model_copy(update={"sealed_by": sealed_by}))
    (made.folder / "transit.token").write_text(token(own, DELETION_POLICY) + "\n")
    return made


def token(own: RunningVault, policy: str) -> str:
    """Return a token of the tenant's own Vault; hvac's session shows what the API answers beside `data`."""
    session, name = own.as_admin(), "seal" if policy == SEAL_POLICY else "shred"
    session.write(f"sys/policies/acl/{name}", {"policy": policy})
    answer = session._client.write_data("auth/token/create", data={"policies": [name], "ttl": "1h"})
    return str(answer["auth"]["client_token"])


def fill(vault: RunningVault) -> None:
    """Put in what a tenant in use has: keys, a machine and its token."""
    admin = vault.as_admin()
    admin.write("byok/data/shared/openai", {"options": {"cas": 0}, "data": {"OPENAI_KEY": CANARY}})
    admin.write("byok/data/agents/agent-1/openai", {"options": {"cas": 0}, "data": {"OPENAI_KEY": CANARY}})
    admin.write("identity/entity/name/acme-agent-1", {"metadata": {"host": "acme-agent-1"}})
    admin.write(
        "auth/cert/certs/acme-agent-1", {"certificate": vault.tenant_ca.pem, "token_policies": "machine"}
    )
    admin.write("ssh/config/ca", {"generate_signing_key": True})


def receipt_of(ann: Administrator) -> Receipt:
    text = (ann.folder / "acme.shred.json").read_text()
    return check_receipt(text, ann.vault.tenant_ca.pem, "acme", "vault-shred")


def test_a_copy_of_the_storage_opens_until_the_tenant_shreds_it(
    vault: RunningVault,
    ann: Administrator,
    own: RunningVault,
    tmp_path: Path,
) -> None:
    fill(vault)
    vault.stop()
    shutil.copytree(vault.folder / "storage", tmp_path / "backup")
    vault.start()
    restore(vault, tmp_path / "backup")
    before = vault.as_admin().read("byok/data/shared/openai")
    assert before is not None
    assert before["data"] == {"OPENAI_KEY": CANARY}

    told = ann.json("shred", "acme", "--yes", "--seal-token-file", "transit.token")

    assert (told["seal_key_destroyed"], told["next_step"]) == (True, "")
    assert receipt_of(ann).details["seal_key_destroyed"] is True
    assert own.as_admin().read("transit/keys/acme") is None
    with pytest.raises(AssertionError, match="no Vault"):
        restore(vault, tmp_path / "backup", within_s=8)
    with pytest.raises(MutxInfraError):
        vault.as_admin()
    assert not [
        path
        for path in (tmp_path / "backup").rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]


def test_a_shredding_goes_on_with_the_seals_key_after_the_vault_is_sealed(
    vault: RunningVault, ann: Administrator, own: RunningVault
) -> None:
    """Without a token the tenant is told what is left to do; with it, the same command does it."""
    first = ann.json("shred", "acme", "--yes")
    assert first["seal_key_destroyed"] is False
    assert first["next_step"].startswith("delete the key acme of transit in your Vault at https://")
    assert receipt_of(ann).details["seal_key_destroyed"] is False

    again = ann.json("shred", "acme", "--yes", "--seal-token-file", "transit.token")

    assert again["seal_key_destroyed"] is True
    assert receipt_of(ann).details == {**again["details"], "seal_key_destroyed": True}
    assert own.as_admin().read("transit/keys/acme") is None
    vault.stop()
    assert ann.json("shred", "acme", "--yes")["seal_key_destroyed"] is True


def test_a_token_that_may_not_delete_the_key_says_so(
    vault: RunningVault, ann: Administrator, own: RunningVault
) -> None:
    (ann.folder / "transit.token").write_text(token(own, SEAL_POLICY))

    assert ann.refusal("shred", "acme", "--yes", "--seal-token-file", "transit.token") == (
        "seal-key-refused",
        4,
    )

    assert receipt_of(ann).details["seal_key_destroyed"] is False
    assert own.as_admin().read("transit/keys/acme") is not None


class TestStatic:
    @pytest.fixture
    def vault(self) -> Iterator[RunningVault]:
        with running_vault() as made:
            restart(made)
            yield made

    @pytest.fixture
    def ann(self, vault: RunningVault, tmp_path: Path) -> Administrator:
        return Administrator(vault, tmp_path / "ann")

    def test_a_shredded_vault_holds_nothing(self, vault: RunningVault, ann: Administrator) -> None:
        fill(vault)
        operator = vault.as_operator()

        told = ann.json("shred", "acme", "--yes")

        assert "ends with the platform's `tenant destroy`" in told["next_step"]
        assert told["details"]["keys"] == 2
        assert sorted(told["details"]["engines"]) == ["byok", "pki", "pki-machines", "ssh"]
        assert vault.vault.health().is_sealed
        restart(vault)
        assert_empty(vault)
        with pytest.raises(RefusedError) as caught:
            operator.read("auth/token/lookup-self")
        assert caught.value.code == "vault-denied"

    def test_a_shredding_that_is_killed_after_any_change_goes_on(
        self, vault: RunningVault, ann: Administrator
    ) -> None:
        fill(vault)
        for number in range(1, 30):
            command = [sys.executable, "-m", "tests.support.killed", "shred", str(ann.folder), str(number)]
            done = subprocess.run(
                command, cwd=ROOT, env=ann.variables(), capture_output=True, text=True, check=False
            )
            assert done.returncode in {0, -9}, done.stderr
            if vault.vault.health().is_sealed:
                break

        told = ann.json("shred", "acme", "--yes")

        assert number > 2
        assert told["seal_key_destroyed"] is False
        assert receipt_of(ann).kind == "vault-shred"
        restart(vault)
        assert_empty(vault)

    def test_it_must_be_meant(self, vault: RunningVault, ann: Administrator) -> None:
        assert ann.refusal("shred", "acme") == ("not-confirmed", 4)
        assert "for ever" in ann.said[-1]
        assert "byok/" in (vault.as_admin().read("sys/mounts") or {})

    def test_a_sealed_vault_of_which_no_shredding_was_begun_is_left_alone(
        self, vault: RunningVault, ann: Administrator
    ) -> None:
        vault.as_admin().write("sys/seal", {})

        assert ann.refusal("shred", "acme", "--yes") == ("shred-sealed", 4)
        assert not (ann.folder / "acme.shred.json").exists()

    def test_a_seals_token_that_is_for_nothing_is_refused(
        self, vault: RunningVault, ann: Administrator
    ) -> None:
        (ann.folder / "token").write_text("x")
        arguments = ["shred", "acme", "--yes", "--seal-token-file"]

        assert ann.refusal(*arguments, "none") == ("seal-token", 3)
        assert ann.refusal(*arguments, "token") == ("seal-token", 3)
        assert "byok/" in (vault.as_admin().read("sys/mounts") or {})


def assert_empty(vault: RunningVault) -> None:
    admin = vault.as_admin()
    assert set(admin.read("sys/mounts") or {}) == {"cubbyhole/", "identity/", "sys/"}
    assert admin.list("auth/cert/certs") == ("tenant-admin",)
    # This session's, and that of the shredding itself: it sealed the Vault, which then could not end it any more.
    assert len(admin.list("auth/token/accessors")) <= len(("this", "shredding"))
    assert admin.read("identity/entity/name/acme-agent-1") is None
    with pytest.raises(RefusedError):
        vault.as_operator()


def restart(vault: RunningVault) -> None:
    """Start it anew; for some seconds after its very first start, a server opens itself again when it is sealed."""
    vault.stop()
    vault.start()


def restore(vault: RunningVault, backup: Path, within_s: float = READY_WITHIN_S) -> None:
    """Start the server on what lies in a backup, as on a fresh machine."""
    vault.stop()
    shutil.rmtree(vault.folder / "storage")
    shutil.copytree(backup, vault.folder / "storage")
    vault.start(within_s)
