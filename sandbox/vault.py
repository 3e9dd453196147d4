"""The sandbox's authority for the platform's certificates to tenants' Vaults, as a profile names one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mutx_sandbox.private_files import write_private

LIFE = timedelta(days=365)


def vault_access(folder: Path) -> dict[str, object]:
    """Return the profile's part about Vaults; its authority is made where there is none yet."""
    key_file, ca_file = folder / "vault_authority.key", folder / "vault_authority.pem"
    if not (key_file.is_file() and ca_file.is_file()):
        key, certificate = _made()
        write_private(key_file, key)
        write_private(ca_file, certificate)
    return {"ca_key_file": str(key_file), "ca_file": str(ca_file)}


def _made() -> tuple[str, str]:
    """Return a key and its own certificate, in PEM."""
    from cryptography import x509  # noqa: PLC0415 - 30 ms that only a sandbox that starts pays
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox platform")])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
    )
