"""What a tenant brings as its authority: what no Vault should trust is refused by name, before anything is made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

from mutx_infra.adapters.x509_authority import check_authority
from mutx_infra.errors import SpecError

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Acme administrators")])


def a_certificate(
    key: CertificateIssuerPrivateKeyTypes | None = None,
    *,
    is_authority: bool | None = True,
    signs: bool | None = True,
    begins: datetime = NOW - YEAR,
    ends: datetime = NOW + YEAR,
) -> str:
    """An authority's certificate with what a test cares about changed; None leaves the extension out."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    if is_authority is not None:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=None), critical=True
        )
    if signs is not None:
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 3072),
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA 3072"],
)
def test_an_authority_with_a_strong_key_is_taken(key: CertificateIssuerPrivateKeyTypes) -> None:
    check_authority(a_certificate(key), NOW)


def test_an_authority_that_does_not_say_what_its_key_is_for_is_taken() -> None:
    check_authority(a_certificate(signs=None), NOW)


@pytest.mark.parametrize(
    ("pem", "code", "said"),
    [
        (a_certificate(is_authority=False), "byok-not-an-authority", "not of an authority"),
        (a_certificate(is_authority=None), "byok-not-an-authority", "not of an authority"),
        (a_certificate(signs=False), "byok-signs-nothing", "may not sign"),
        (a_certificate(ends=NOW - timedelta(seconds=1)), "byok-expired", "ended at 2026-06-01T11:59:59"),
        (a_certificate(begins=NOW + timedelta(days=1)), "byok-not-yet", "begins at 2026-06-02"),
        (a_certificate(rsa.generate_private_key(65537, 2048)), "byok-key-weak", "RSA, 2048 bits"),
        (a_certificate(ec.generate_private_key(ec.SECP224R1())), "byok-key-weak", "224 bits"),
        (
            "-----BEGIN CERTIFICATE-----\nMAoCAQECAQECAQE=\n-----END CERTIFICATE-----\n",
            "byok-not-understood",
            "can be read",
        ),
    ],
    ids=["a person's", "says nothing", "signs nothing", "ended", "to come", "RSA 2048", "P-224", "not X.509"],
)
def test_a_certificate_that_no_vault_should_trust_is_refused(pem: str, code: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as refused:
        check_authority(pem, NOW)

    assert refused.value.code == code
    assert "ask the tenant" in refused.value.remedy
