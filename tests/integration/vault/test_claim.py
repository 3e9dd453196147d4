"""`vault claim` as the tenant's administrator runs it: what is theirs afterwards, what the platform's no more."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from mutx_infra.adapters.x509 import check_receipt
from mutx_infra.errors import RefusedError
from mutx_infra.vault.handover import Machine
from mutx_infra.vault.layout import ONBOARDER, CertificateRole
from mutx_infra.vault_ports import ClientCertificate
from tests.support.administrator import Administrator, handover_of
from tests.support.authorities import make_authority
from tests.support.checkout import ROOT
from tests.support.pgp import FIXTURES, Holder, make_holder
from tests.support.vault import RunningVault, running_vault


@pytest.fixture(scope="module")
def untouched() -> Iterator[RunningVault]:
    """For what changes nothing."""
    with running_vault() as made:
        yield made


@pytest.fixture
def vault() -> Iterator[RunningVault]:
    with running_vault() as made:
        yield made


@pytest.fixture
def ann(vault: RunningVault, tmp_path: Path) -> Administrator:
    return Administrator(vault, tmp_path / "ann")


@pytest.fixture
def holders(ann: Administrator) -> tuple[Holder, ...]:
    return tuple(make_holder(ann.folder, name) for name in ("ann", "bob", "eve"))


def keys_of(holders: tuple[Holder, ...]) -> list[str]:
    return [word for holder in holders for word in ("--pgp-key", holder.public.name)]


def recovery(vault: RunningVault) -> tuple[int, int]:
    status = vault.vault.open_read("sys/seal-status")
    assert status is not None
    return status["t"], status["n"]


def test_a_claim_gives_the_tenant_what_is_the_tenants(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    onboarder = vault.as_onboarder()

    told = ann.json("claim", "acme", *keys_of(holders))

    assert recovery(vault) == (2, 3)
    shares = {holder.decrypt(share_of(ann, holder).read_bytes()) for holder in holders}
    assert len(shares) == 3
    assert {stat.S_IMODE(share_of(ann, holder).stat().st_mode) for holder in holders} == {0o600}
    assert not any(share.decode() in text for share in shares for text in [*ann.said, log_of(vault)])
    authority = vault.vault.open_read("ssh/public_key")
    assert authority is not None
    assert authority["text"].strip() == told["ssh_authority"]
    with pytest.raises(RefusedError) as caught:
        onboarder.read("auth/token/lookup-self")
    assert caught.value.code == "vault-denied"
    with pytest.raises(RefusedError) as caught:
        vault.as_onboarder()
    assert caught.value.code == "vault-login"
    assert told["revoked_tokens"] >= 1
    receipt = check_receipt(
        (ann.folder / "acme.claim.json").read_text(), vault.tenant_ca.pem, "acme", "vault-claim"
    )
    assert receipt.details["fingerprints"] == sorted(holder.fingerprint for holder in holders)
    verdicts = {each["name"]: each["verdict"] for each in told["compared"]}
    assert verdicts.pop(f"role {ONBOARDER}") == "missing"
    assert set(verdicts.values()) == {"same"}
    assert len(verdicts) == 8


def test_the_shares_open_the_recovery(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    """Two of three are enough to set new recovery keys; one is not."""
    ann.run("claim", "acme", *keys_of(holders))
    shares = [holder.decrypt(share_of(ann, holder).read_bytes()).decode() for holder in holders]
    admin = vault.as_admin()

    begun = admin.write("sys/rotate/recovery/init", {"secret_shares": 1, "secret_threshold": 1})
    first = admin.write("sys/rotate/recovery/update", {"key": shares[0], "nonce": begun["nonce"]})
    second = admin.write("sys/rotate/recovery/update", {"key": shares[2], "nonce": begun["nonce"]})

    assert (first["progress"], second["complete"]) == (1, True)


def test_a_table_says_whose_is_what(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    done = ann.run("claim", "acme", *keys_of(holders), "--threshold", "3", installed=True)

    assert "recovery threshold        3 of 3" in done.stdout
    assert "nobody    mutx-onboarder" in done.stdout
    assert "policy tenant-admin" in done.stdout
    assert recovery(vault) == (3, 3)


def test_shares_on_standard_output_are_ciphertext(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    done = ann.run("claim", "acme", *keys_of(holders[:1]), "--shares", "-", installed=True)

    assert done.stdout.startswith("-----BEGIN PGP MESSAGE-----")
    assert len(holders[0].decrypt(done.stdout.encode())) >= 64
    assert not (ann.folder / "acme-recovery").exists()
    assert ann.refusal("claim", "acme", *keys_of(holders), "--shares", "-", "--json") == (
        "shares-and-json",
        2,
    )


def test_a_second_claim_changes_nothing(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...], tmp_path: Path
) -> None:
    first = ann.json("claim", "acme", *keys_of(holders))
    written = {path: path.read_text() for path in (ann.folder / "acme-recovery").iterdir()}

    again = ann.json("claim", "acme", *keys_of(holders))

    assert again["was_claimed_before"] is True
    assert again["ssh_authority"] == first["ssh_authority"]
    assert {path: path.read_text() for path in written} == written
    assert len(vault.as_admin().list("ssh/issuers")) == 1
    assert ann.refusal("claim", "acme", *keys_of(holders[:2])) == ("vault-claimed", 4)
    bob = Administrator(vault, tmp_path / "bob")
    theirs = [word for holder in holders for word in ("--pgp-key", str(holder.public))]
    assert bob.refusal("claim", "acme", *theirs) == ("vault-claimed", 4)
    assert recovery(vault) == (2, 3)


def test_a_claim_that_is_killed_after_any_change_goes_on(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    """Each run dies one change later than the last one, until one gets through."""
    vault.as_onboarder()
    for number in range(1, 20):
        command = [sys.executable, "-m", "tests.support.killed", "claim", str(ann.folder), str(number)]
        done = subprocess.run(
            command, cwd=ROOT, env=ann.variables(), capture_output=True, text=True, check=False
        )
        assert done.returncode in {0, -9}, done.stderr
        if done.returncode == 0:
            break

    assert number == 4
    assert recovery(vault) == (2, 2)
    for holder in holders[:2]:
        assert len(holder.decrypt(share_of(ann, holder).read_bytes())) >= 64
    assert len(vault.as_admin().list("ssh/issuers")) == 1
    assert check_receipt(
        (ann.folder / "acme.claim.json").read_text(), vault.tenant_ca.pem, "acme", "vault-claim"
    )
    with pytest.raises(RefusedError):
        vault.as_onboarder()
    assert ann.json("claim", "acme", *keys_of(holders[:2]))["was_claimed_before"] is True


@pytest.mark.parametrize(
    "request_", ["sys/rotate/recovery/init", "ssh/config/ca", "auth/cert/certs/mutx-onboarder"]
)
def test_a_claim_that_dies_while_it_is_answered_loses_nothing(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...], request_: str
) -> None:
    """The worst moment: the server has made the shares, and nobody has read them."""
    kill_after(vault, ann, holders, request_)
    assert not (ann.folder / "acme.claim.json").exists()

    ann.run("claim", "acme", *keys_of(holders))

    shares = [holder.decrypt(share_of(ann, holder).read_bytes()).decode() for holder in holders]
    admin = vault.as_admin()
    begun = admin.write("sys/rotate/recovery/init", {"secret_shares": 1, "secret_threshold": 1})
    for share in shares[:2]:
        answer = admin.write("sys/rotate/recovery/update", {"key": share, "nonce": begun["nonce"]})
    assert answer["complete"] is True
    assert len(admin.list("ssh/issuers")) == 1


def test_a_claim_that_was_begun_with_other_keys_is_not_taken_over(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    kill_after(vault, ann, holders, "sys/rotate/recovery/init")

    assert ann.refusal("claim", "acme", *keys_of(holders[:2])) == ("claim-other-keys", 4)
    assert ann.refusal("claim", "acme", *keys_of(holders), "--threshold", "3") == ("claim-other-keys", 4)


def test_recovery_keys_that_somebody_set_by_hand_are_no_claim(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    vault.as_admin().write("sys/rotate/recovery/init", {"secret_shares": 1, "secret_threshold": 1})

    assert ann.refusal("claim", "acme", *keys_of(holders)) == ("recovery-keys-foreign", 4)
    assert vault.as_onboarder()


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("sys/policies/acl/mutx-operator", {"policy": 'path "byok/*" { capabilities = ["read"] }'}),
        ("sys/policies/acl/back-door", {"policy": 'path "byok/*" { capabilities = ["read"] }'}),
        ("auth/cert/certs/mutx-operator", {"token_policies": "tenant-admin"}),
        ("auth/cert/certs/tenant-admin", {"allowed_names": "*"}),
        ("sys/auth/userpass", {"type": "userpass"}),
    ],
    ids=["policy", "more-policies", "role", "role-field", "login"],
)
def test_a_vault_that_is_not_what_was_handed_over_is_not_claimed(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...], path: str, data: dict[str, str]
) -> None:
    vault.as_admin().write(path, data)

    assert ann.refusal("claim", "acme", *keys_of(holders)) == ("vault-differs", 6)
    assert recovery(vault) == (0, 0)


def test_an_authority_beside_the_tenants_is_seen_though_the_hand_over_file_has_its_digest(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    """The platform writes both: the role with its own authority beside the tenant's, and the file."""
    both = CertificateRole(
        "tenant-admin", vault.tenant_ca.pem + vault.platform_ca.pem, (), ("tenant-admin",), ()
    )
    vault.as_admin().write("auth/cert/certs/tenant-admin", both.settings())
    handover = handover_of(vault)
    digests = {**handover.digests, "role tenant-admin": both.digest()}
    ann.hand_over(handover.model_copy(update={"digests": digests}))

    assert ann.refusal("claim", "acme", *keys_of(holders)) == ("vault-differs", 6)
    assert recovery(vault) == (0, 0)


class TestRefusals:
    """What may be wrong with keys, and between an administrator and the Vault: each has its own words."""

    @pytest.fixture
    def vault(self, untouched: RunningVault) -> RunningVault:
        return untouched

    @pytest.fixture
    def command(self, holders: tuple[Holder, ...]) -> list[str]:
        return ["claim", "acme", *keys_of(holders)]

    def test_a_certificate_of_another_authority(
        self, ann: Administrator, command: list[str], tmp_path: Path
    ) -> None:
        assert ann.refusal(*command, **shown(make_authority("globex").client(tmp_path, "ann"))) == (
            "vault-login",
            4,
        )

    def test_the_platforms_certificate(
        self, vault: RunningVault, ann: Administrator, command: list[str]
    ) -> None:
        ours = vault.client(vault.platform_ca, "mutx-operator@acme")

        assert ann.refusal(*command, **shown(ours)) == ("vault-login", 4)

    def test_a_certificate_that_has_ended(
        self, vault: RunningVault, ann: Administrator, command: list[str], tmp_path: Path
    ) -> None:
        minute = timedelta(minutes=1)
        ended = vault.tenant_ca.client(tmp_path, "a", begins_in=-3 * minute, ends_in=-minute)
        early = vault.tenant_ca.client(tmp_path, "b", begins_in=5 * minute)

        assert ann.refusal(*command, **shown(ended)) == ("certificate-time", 3)
        assert ann.refusal(*command, **shown(early)) == ("certificate-time", 3)

    def test_no_certificate(self, ann: Administrator, command: list[str]) -> None:
        assert ann.refusal(*command, VAULT_CLIENT_CERT="") == ("vault-certificate", 3)
        assert ann.refusal(*command, VAULT_CLIENT_KEY="none.key") == ("vault-certificate", 3)

    def test_another_servers_authority(
        self, vault: RunningVault, ann: Administrator, command: list[str]
    ) -> None:
        ann.hand_over(handover_of(vault).model_copy(update={"authority": make_authority("x").pem}))

        assert ann.refusal(*command) == ("vault-not-trusted", 5)

    def test_nobody_there(self, ann: Administrator, command: list[str]) -> None:
        assert ann.refusal(*command, "--address", "https://127.0.0.1:9") == ("vault-unreachable", 5)

    def test_another_tenants_file(self, vault: RunningVault, ann: Administrator, command: list[str]) -> None:
        ann.hand_over(handover_of(vault).model_copy(update={"tenant": "globex"}))
        assert ann.refusal(*command) == ("handover-tenant", 3)
        (ann.folder / "acme.vault.json").write_text(json.dumps({"kind": "other"}))
        assert ann.refusal(*command) == ("handover-invalid", 3)
        (ann.folder / "acme.vault.json").unlink()
        assert ann.refusal(*command) == ("handover-missing", 3)

    @pytest.mark.parametrize("name", ["sha1", "dsa-elgamal", "rsa2048"])
    def test_a_weak_key_is_refused_by_name_before_anything_is_done(
        self, vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...], name: str
    ) -> None:
        weak = FIXTURES / f"{name}.asc"

        assert ann.refusal("claim", "acme", *keys_of(holders), "--pgp-key", str(weak)) == ("pgp-key-weak", 3)
        assert str(weak) in ann.said[-1]
        assert recovery(vault) == (0, 0)

    @pytest.mark.parametrize(
        "more",
        [["--pgp-key", "ann.asc"], ["--threshold", "1"], ["--threshold", "4"]],
        ids=["twice", "one", "many"],
    )
    def test_holders_that_make_no_sense_are_refused(
        self, ann: Administrator, holders: tuple[Holder, ...], more: list[str]
    ) -> None:
        assert ann.refusal("claim", "acme", *keys_of(holders), *more) == ("holders-invalid", 2)

    def test_root_is_no_operator(
        self, vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
    ) -> None:
        assert ann.refusal("claim", "acme", *keys_of(holders), "--principal", "root") == (
            "principal-invalid",
            2,
        )
        assert recovery(vault) == (0, 0)


def test_a_sealed_vault_says_so(vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]) -> None:
    # For some seconds after its very first start, a server opens itself again.
    vault.stop()
    vault.start()
    vault.as_admin().write("sys/seal", {})

    assert ann.refusal("claim", "acme", *keys_of(holders)) == ("vault-sealed", 5)


def test_a_host_that_was_enrolled_before_is_no_difference(
    vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...]
) -> None:
    host = Machine(name="acme-agent-1", key="agent-1", role="agent", address=IPv4Address("127.0.0.1"))
    ann.hand_over(handover_of(vault, (host,)))
    vault.as_admin().write("auth/cert/certs/acme-agent-1", {"certificate": vault.tenant_ca.pem})

    ann.run("claim", "acme", *keys_of(holders))

    assert recovery(vault) == (2, 3)


def kill_after(vault: RunningVault, ann: Administrator, holders: tuple[Holder, ...], path: str) -> None:
    """Do by hand what a claim does up to and with one request."""
    admin = vault.as_admin()
    keys = [json.loads(json.dumps(holder_data(holder))) for holder in holders]
    admin.write(
        "sys/rotate/recovery/init",
        {"secret_shares": len(keys), "secret_threshold": 2, "pgp_keys": keys, "backup": True},
    )
    if path == "sys/rotate/recovery/init":
        return
    admin.write("ssh/config/ca", {"generate_signing_key": True, "key_type": "ed25519"})
    if path == "ssh/config/ca":
        return
    admin.delete(path)


def holder_data(holder: Holder) -> str:
    from mutx_infra.adapters.openpgp import PgpKeyFiles  # noqa: PLC0415
    from mutx_infra.bootstrap import SystemClock  # noqa: PLC0415

    return PgpKeyFiles(SystemClock()).read(holder.public).data


def share_of(ann: Administrator, holder: Holder) -> Path:
    return ann.folder / "acme-recovery" / f"share-{holder.fingerprint}.asc"


def log_of(vault: RunningVault) -> str:
    return vault.audit_log.read_text() + (vault.folder / "server.log").read_text()


def shown(certificate: ClientCertificate) -> dict[str, str]:
    return {"VAULT_CLIENT_CERT": str(certificate.certificate), "VAULT_CLIENT_KEY": str(certificate.key)}
