"""The platform's side of a Vault, as far as it needs none: what is collected, kept, refused and taken down."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mutx_infra.errors import MutxInfraError, RefusedError, VerificationError
from mutx_infra.records import TenantState
from mutx_infra.vault.handover import Handover, Machine
from mutx_infra.vault.places import MACHINE_REQUEST, OWN_AUTHORITY
from tests.support.authorities import Authority, make_authority, pem_of, signing_request
from tests.support.byok import a_receipt, a_vault
from tests.support.custody import CLIENTS, VaultYard
from tests.support.specs import a_spec


@pytest.fixture
def yard(tmp_path: Path) -> VaultYard:
    return VaultYard(tmp_path)


def await_claim(yard: VaultYard) -> None:
    """Put the tenant where `hand_over` leaves it."""
    machines = tuple(
        Machine(
            name=name,
            key=name.removeprefix("acme-"),
            role="agent",
            address=yard.inventory.host(name).target.private_ip,
            request=yard.hosts.files[name, MACHINE_REQUEST],
        )
        for name in CLIENTS
    )
    yard.files.keep_handover(
        Handover(
            tenant="acme",
            url="https://acme-vault-1:8200",
            authority=yard.server_ca.pem,
            admin_ca=yard.tenant_ca.pem,
            seal="static",
            release="0.1.0",
            digests={},
            machines=machines,
        )
    )
    yard.world.registry.update("acme", state=TenantState.AWAITING_CLAIM, vault=a_vault())


def sign(request: str, authority: Authority) -> str:
    """Sign a request as the Vault's authority of machines does."""
    asked = x509.load_pem_x509_csr(request.encode())
    made = (
        x509.CertificateBuilder()
        .subject_name(asked.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(authority.certificate.not_valid_before_utc)
        .not_valid_after(authority.certificate.not_valid_after_utc)
        .sign(authority.key, hashes.SHA256())
    )
    return pem_of(made)


class TestWhoHasOne:
    def test_a_tenant_that_brings_nothing_has_none(self, yard: VaultYard) -> None:
        yard.world.registry.update("acme", spec=a_spec())

        with pytest.raises(RefusedError) as refused:
            yard.custody().nodes("acme")

        assert refused.value.code == "byok-missing"

    def test_a_vault_that_is_its_tenant_s_is_handed_over_to_nobody(self, yard: VaultYard) -> None:
        yard.world.registry.update("acme", vault=a_vault(handed_over_at=yard.world.clock.now()))

        for ask in (yard.custody().nodes, lambda tenant: yard.custody().hand_over(tenant, yard.listener)):
            with pytest.raises(RefusedError) as refused:
                ask("acme")
            assert refused.value.code == "vault-handed-over"
        assert yard.hosts.reads == []

    def test_its_hosts_are_the_vault_s_and_those_that_log_in_there(self, yard: VaultYard) -> None:
        assert yard.custody().nodes("acme") == ("acme-vault-1",)
        assert yard.custody().clients("acme") == CLIENTS


class TestAuthorities:
    def test_what_was_collected_is_kept_and_said_to_be_news_once(self, yard: VaultYard) -> None:
        news = [yard.custody().collect_authorities("acme") for _ in range(2)]

        assert news == [True, False]
        assert yard.files.authorities("acme") == {"acme-vault-1": yard.server_ca.pem}

    def test_a_host_that_was_made_anew_has_another(self, yard: VaultYard) -> None:
        yard.custody().collect_authorities("acme")
        yard.hosts.files["acme-vault-1", OWN_AUTHORITY] = made_anew = make_authority("acme vault").pem

        assert yard.custody().collect_authorities("acme")
        assert yard.files.authorities("acme") == {"acme-vault-1": made_anew}

    def test_a_node_that_has_none_is_named(self, yard: VaultYard) -> None:
        del yard.hosts.files["acme-vault-1", OWN_AUTHORITY]

        with pytest.raises(VerificationError, match="acme-vault-1 has made no authority") as refused:
            yard.custody().collect_authorities("acme")

        assert refused.value.code == "vault-not-made"

    def test_a_host_that_asks_for_another_s_name_stops_the_hand_over(self, yard: VaultYard) -> None:
        stolen = signing_request(yard.folder, "acme-agent-2")[0]
        yard.hosts.files["acme-agent-1", MACHINE_REQUEST] = stolen
        yard.custody().collect_authorities("acme")

        with pytest.raises(VerificationError, match="acme-agent-1 asks for a certificate of acme-agent-2"):
            yard.custody().hand_over("acme", yard.listener)

        assert yard.record.state is TenantState.READY
        assert yard.files.handover("acme") is None


class TestCertificates:
    @pytest.fixture
    def machine_ca(self) -> Authority:
        return make_authority("acme machines")

    def test_each_is_kept_for_the_host_that_asked(self, yard: VaultYard, machine_ca: Authority) -> None:
        await_claim(yard)
        signed = {name: sign(yard.hosts.files[name, MACHINE_REQUEST], machine_ca) for name in CLIENTS[:2]}

        hosts = yard.custody().take_certificates("acme", list(signed.values()))

        assert hosts == CLIENTS[:2]
        assert yard.files.certificates("acme") == signed

    def test_with_one_that_nobody_asked_for_none_is_kept(
        self, yard: VaultYard, machine_ca: Authority
    ) -> None:
        await_claim(yard)
        good = sign(yard.hosts.files[CLIENTS[0], MACHINE_REQUEST], machine_ca)
        other_key = sign(signing_request(yard.folder, CLIENTS[1])[0], machine_ca)

        with pytest.raises(RefusedError, match="certificate 2 of 2") as refused:
            yard.custody().take_certificates("acme", [good, other_key])

        assert refused.value.code == "certificate-other"
        assert yard.files.certificates("acme") == {}

    @pytest.mark.parametrize(
        "text", ["", "hello", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"]
    )
    def test_what_is_no_certificate_is_nobody_s(self, yard: VaultYard, text: str) -> None:
        await_claim(yard)

        with pytest.raises(RefusedError, match="certificate 1 of 1"):
            yard.custody().take_certificates("acme", [text])

    def test_before_anything_was_handed_over_nobody_can_have_signed(self, yard: VaultYard) -> None:
        with pytest.raises(RefusedError) as refused:
            yard.custody().take_certificates("acme", [])

        assert refused.value.code == "vault-not-handed-over"


class TestClaim:
    def test_a_claim_makes_the_tenant_ready_and_closes_the_platform_s_way_in(self, yard: VaultYard) -> None:
        await_claim(yard)
        before = yard.keeper.in_force

        record = yard.custody().take_claim(
            "acme", a_receipt(yard.tenant_ca, yard.folder, "vault-claim"), yard.listener
        )

        (entry,) = yard.world.history.entries("acme")
        assert (record.state, record.handed_over_at) == (TenantState.READY, yard.world.clock.now())
        assert yard.listener.steps == ["hand-over", "tailnet"]
        assert (before, "tag:t-acme-mgmt" in _grants(yard.keeper.in_force[-1])) == (
            [yard.keeper.in_force[-1]],
            False,
        )
        assert (entry.kind, entry.changes.changes[0].kind) == ("vault", "mutx:vault:Vault")
        assert entry.changes.changes[0].fields[0].startswith("claimed at ")

    def test_the_same_claim_again_changes_nothing(self, yard: VaultYard) -> None:
        await_claim(yard)
        claim = a_receipt(yard.tenant_ca, yard.folder, "vault-claim")
        first = yard.custody().take_claim("acme", claim, yard.listener)
        yard.world.clock.sleep(60)

        again = yard.custody().take_claim("acme", claim, yard.listener)

        assert again == first
        assert len(yard.world.history.entries("acme")) == 1

    def test_a_tenant_that_failed_stays_failed_and_is_its_own(self, yard: VaultYard) -> None:
        await_claim(yard)
        yard.world.registry.update("acme", state=TenantState.FAILED)

        record = yard.custody().take_claim(
            "acme", a_receipt(yard.tenant_ca, yard.folder, "vault-claim"), yard.listener
        )

        assert (record.state, record.is_handed_over) == (TenantState.FAILED, True)

    @pytest.mark.parametrize(
        ("receipt", "code"),
        [
            ({"kind": "vault-shred"}, "receipt-other"),
            ({"tenant": "globex"}, "receipt-other"),
            ({"cluster": "another"}, "receipt-cluster"),
            ({"authority": make_authority("the platform")}, "receipt-signer"),
        ],
        ids=["a shredding", "another tenant's", "another life's", "the platform's own"],
    )
    def test_what_is_no_claim_of_this_vault_by_its_tenant_changes_nothing(
        self, yard: VaultYard, receipt: dict[str, object], code: str
    ) -> None:
        await_claim(yard)
        given = {"authority": yard.tenant_ca, "folder": yard.folder, "kind": "vault-claim", **receipt}

        with pytest.raises(RefusedError) as refused:
            yard.custody().take_claim("acme", a_receipt(**given), yard.listener)  # type: ignore[arg-type]

        assert refused.value.code == code
        assert (yard.record.state, yard.record.is_handed_over) == (TenantState.AWAITING_CLAIM, False)
        assert yard.keeper.in_force == []

    def test_nobody_can_have_claimed_what_was_never_handed_over(self, yard: VaultYard) -> None:
        with pytest.raises(RefusedError) as refused:
            yard.custody().take_claim("acme", "{}", yard.listener)

        assert refused.value.code == "vault-not-handed-over"


class TestPlatformAuthority:
    def test_a_certificate_is_for_one_role_in_one_vault_and_half_an_hour(self, yard: VaultYard) -> None:
        with yard.identity().shown("mutx-onboarder", "acme") as shown:
            made = x509.load_pem_x509_certificate(shown.certificate.read_bytes())
            mode = shown.key.stat().st_mode & 0o777

        assert made.subject.rfc4514_string() == "CN=mutx-onboarder@acme"
        assert (made.not_valid_after_utc - made.not_valid_before_utc).total_seconds() == 31 * 60
        made.verify_directly_issued_by(yard.platform_ca.certificate)
        assert mode == 0o600
        assert not shown.key.exists()

    def test_a_key_that_others_may_read_is_refused(self, yard: VaultYard) -> None:
        identity = yard.identity()
        (yard.folder / "platform.key").chmod(0o640)

        with (
            pytest.raises(MutxInfraError, match="by others than its owner") as refused,
            identity.shown("r", "acme"),
        ):
            pass

        assert refused.value.code == "vault-ca-open"

    @pytest.mark.parametrize(
        ("file", "text", "code"),
        [
            ("platform.pem", make_authority("another").pem, "vault-ca-mismatch"),
            ("platform.pem", "", "vault-ca-unreadable"),
            ("platform.key", "", "vault-ca-unreadable"),
        ],
    )
    def test_what_does_not_belong_together_is_refused(
        self, yard: VaultYard, file: str, text: str, code: str
    ) -> None:
        identity = yard.identity()
        (yard.folder / file).write_text(text)

        with pytest.raises(MutxInfraError, match="platform") as refused, identity.shown("r", "acme"):
            pass

        assert refused.value.code == code


def _grants(policy: str) -> str:
    return policy.partition('"tests"')[0].partition('"grants"')[2]
