"""A receipt proves who signed what, when; every way to make another of it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID

from mutx_infra.adapters.x509 import check_receipt, sign_receipt
from mutx_infra.errors import RefusedError, SettingsError
from mutx_infra.vault.receipt import MAX_CHARACTERS, Receipt
from mutx_infra.vault_ports import ClientCertificate
from tests.support.authorities import Authority, make_authority, pem_of


@cache
def now() -> datetime:
    """When the first of these tests ran: certificates begin five minutes before they are made."""
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def tenant_ca() -> Authority:
    return make_authority("acme administrators")


@pytest.fixture
def ann(tenant_ca: Authority, tmp_path: Path) -> ClientCertificate:
    return tenant_ca.client(tmp_path, "ann@acme.example")


def receipt(**changed: object) -> Receipt:
    made = {"kind": "vault-claim", "tenant": "acme", "cluster": "c-1", "at": now(), "details": {"shares": 3}}
    return Receipt.model_validate({**made, **changed})


def refused(text: str, authority: Authority, tenant: str = "acme", kind: str = "vault-claim") -> str:
    with pytest.raises(RefusedError) as caught:
        check_receipt(text, authority.pem, tenant, kind)  # type: ignore[arg-type]
    return caught.value.code


def test_what_was_signed_is_what_is_read(tenant_ca: Authority, ann: ClientCertificate) -> None:
    text = sign_receipt(receipt(), ann).text()

    assert check_receipt(text, tenant_ca.pem, "acme", "vault-claim") == receipt()


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_other_keys_sign_too(tenant_ca: Authority, tmp_path: Path, kind: str) -> None:
    key = rsa.generate_private_key(65537, 3072) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(tenant_ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now() - timedelta(minutes=5))
        .not_valid_after(now() + timedelta(hours=1))
        .sign(tenant_ca.key, hashes.SHA256())
    )
    shown = ClientCertificate(tmp_path / "ann.pem", tmp_path / "ann.key")
    shown.certificate.write_text(pem_of(made))
    shown.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )

    text = sign_receipt(receipt(), shown).text()

    assert check_receipt(text, tenant_ca.pem, "acme", "vault-claim") == receipt()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cluster", lambda: "c-2"),
        ("at", lambda: (now() - timedelta(minutes=1)).isoformat()),  # noqa: PLW0108 - when the test runs
        ("details", lambda: {"shares": 4}),
    ],
    ids=["cluster", "at", "details"],
)
def test_a_changed_field_is_seen(
    tenant_ca: Authority, ann: ClientCertificate, field: str, value: Callable[[], object]
) -> None:
    document = json.loads(sign_receipt(receipt(), ann).text())
    document["receipt"][field] = value()

    assert refused(json.dumps(document), tenant_ca) == "receipt-signature"


def test_the_platform_cannot_sign_for_the_tenant(tenant_ca: Authority, tmp_path: Path) -> None:
    platform = make_authority("mutx platform")
    text = sign_receipt(receipt(), platform.client(tmp_path, "mutx-operator@acme")).text()

    assert refused(text, tenant_ca) == "receipt-signer"


def test_an_authority_of_the_same_name_is_another(tmp_path: Path, tenant_ca: Authority) -> None:
    impostor = make_authority("acme administrators")
    text = sign_receipt(receipt(), impostor.client(tmp_path, "ann@acme.example")).text()

    assert refused(text, tenant_ca) == "receipt-signer"


def test_a_client_is_no_authority(tenant_ca: Authority, ann: ClientCertificate, tmp_path: Path) -> None:
    """Somebody with a client certificate makes one for another, and sends both."""
    made = x509.load_pem_x509_certificate(ann.certificate.read_bytes())
    key = serialization.load_pem_private_key(ann.key.read_bytes(), None)
    theirs = Authority(made, key).client(tmp_path, "eve")  # type: ignore[arg-type]
    theirs.certificate.write_text(theirs.certificate.read_text() + ann.certificate.read_text())

    assert refused(sign_receipt(receipt(), theirs).text(), tenant_ca) == "receipt-signer"


def test_a_servers_certificate_signs_no_receipt(tenant_ca: Authority, tmp_path: Path) -> None:
    text = sign_receipt(receipt(), tenant_ca.server(tmp_path, "vault", "10.0.1.9")).text()

    assert refused(text, tenant_ca) == "receipt-signer"


def test_a_certificate_that_had_ended_signed_nothing(tenant_ca: Authority, tmp_path: Path) -> None:
    ended = tenant_ca.client(tmp_path, "ann", begins_in=timedelta(hours=-2), ends_in=timedelta(hours=-1))

    assert refused(sign_receipt(receipt(), ended).text(), tenant_ca) == "receipt-signer"


def test_a_receipt_outlives_its_signers_certificate(tenant_ca: Authority, tmp_path: Path) -> None:
    minute = timedelta(minutes=1)
    ended = tenant_ca.client(tmp_path, "ann", begins_in=-4 * minute, ends_in=-minute)
    then = receipt(at=now() - 2 * minute)

    found = check_receipt(sign_receipt(then, ended).text(), tenant_ca.pem, "acme", "vault-claim")

    assert found == then


@pytest.mark.parametrize(
    ("tenant", "kind"), [("globex", "vault-claim"), ("acme", "vault-shred")], ids=["tenant", "kind"]
)
def test_a_receipt_is_for_one_tenant_and_one_thing(
    tenant_ca: Authority, ann: ClientCertificate, tenant: str, kind: str
) -> None:
    assert refused(sign_receipt(receipt(), ann).text(), tenant_ca, tenant, kind) == "receipt-other"


def test_a_receipt_from_the_future_is_refused(tenant_ca: Authority, ann: ClientCertificate) -> None:
    text = sign_receipt(receipt(at=now() + timedelta(minutes=10)), ann).text()

    assert refused(text, tenant_ca) == "receipt-time"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "x" * (MAX_CHARACTERS + 1)],
    ids=["empty", "object", "list", "null", "long"],
)
def test_what_is_no_receipt_is_refused(tenant_ca: Authority, text: str) -> None:
    assert refused(text, tenant_ca) == "receipt-invalid"


def test_a_key_of_another_certificate_signs_nothing(tenant_ca: Authority, tmp_path: Path) -> None:
    ann, bob = tenant_ca.client(tmp_path, "ann"), tenant_ca.client(tmp_path, "bob")

    with pytest.raises(SettingsError) as caught:
        sign_receipt(receipt(), ClientCertificate(ann.certificate, bob.key))

    assert caught.value.code == "vault-certificate"
