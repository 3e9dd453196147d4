"""Certificates of an authority that nobody knows, made for one look and thrown away: what a stranger would show."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mutx_infra.vault_ports import ClientCertificate

_LIFETIME = timedelta(hours=1)
_SKEW = timedelta(minutes=5)


@contextmanager
def strangers(authority: str, names: Sequence[str]) -> Iterator[tuple[ClientCertificate, ...]]:
    """Yield a client certificate for each name, signed by an authority that merely calls itself as the known one does.

    Args:
        authority: PEM of the authority whose name is taken.
        names: common names.
    """
    subject = x509.load_pem_x509_certificate(authority.encode()).subject
    key = ec.generate_private_key(ec.SECP256R1())
    with tempfile.TemporaryDirectory(prefix="mutx-strangers-") as folder:
        yield tuple(_written(Path(folder), number, name, subject, key) for number, name in enumerate(names))


def _written(
    folder: Path, number: int, name: str, issuer: x509.Name, signer: ec.EllipticCurvePrivateKey
) -> ClientCertificate:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    shown = ClientCertificate(folder / f"{number}.pem", folder / f"{number}.key")
    shown.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    shown.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return shown
