"""The platform's client certificates for tenants' Vaults: half an hour each, made when they are used, kept nowhere.

A Vault takes one for looking at its configuration, on its own host, until its tenant claims it: see the layout's roles.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mutx_infra.environment import VaultAccess
from mutx_infra.errors import SettingsError
from mutx_infra.vault.layout import platform_common_name
from mutx_infra.vault_ports import ClientCertificate

LIFE = timedelta(minutes=30)
_CLOCK_SKEW = timedelta(minutes=1)
_OTHERS = 0o077
_Signing = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class PlatformAuthority:
    """The authority that an environment profile names."""

    def __init__(self, access: VaultAccess) -> None:
        self._key_file, self._ca_file = Path(access.ca_key_file), Path(access.ca_file)

    def certificate(self) -> str:
        """Return its certificate in PEM.

        Raises:
            SettingsError: it cannot be read (code `vault-ca-unreadable`).
        """
        return self._certificate().public_bytes(serialization.Encoding.PEM).decode()

    @contextmanager
    def shown(self, role: str, tenant: str) -> Iterator[ClientCertificate]:
        """Yield a certificate for one role in one tenant's Vault, as files that are gone afterwards.

        Raises:
            SettingsError: key or certificate cannot be read or used (`vault-ca-unreadable`), do not belong together
                (`vault-ca-mismatch`), the certificate is not in force (`vault-ca-ended`), or others may read the key
                (`vault-ca-open`).
        """
        authority, key = self._certificate(), self._key()
        own = ec.generate_private_key(ec.SECP256R1())
        made = _sign(authority, key, own.public_key(), platform_common_name(role, tenant))
        with tempfile.TemporaryDirectory(prefix="mutx-") as folder:
            shown = ClientCertificate(Path(folder) / "client.crt", Path(folder) / "client.key")
            shown.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
            shown.key.touch(mode=0o600)
            shown.key.write_bytes(
                own.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
            yield shown

    def _certificate(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self._ca_file.read_bytes())
        except (OSError, ValueError) as exc:
            raise _unreadable(self._ca_file, "certificate in PEM") from exc

    def _key(self) -> _Signing:
        try:
            if self._key_file.stat().st_mode & _OTHERS:
                raise SettingsError(
                    f"{self._key_file} can be read by others than its owner",
                    code="vault-ca-open",
                    remedy=f"`chmod 600 {self._key_file}`, and make a new authority if somebody may have read it",
                )
            key = serialization.load_pem_private_key(self._key_file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise _unreadable(self._key_file, "private key in PEM, without a passphrase") from exc
        if not isinstance(key, _Signing):
            raise _unreadable(self._key_file, "key of EC, RSA or Ed25519")
        authority = self._certificate()
        if key.public_key() != authority.public_key():
            raise SettingsError(
                f"{self._key_file} is not the key of {self._ca_file}",
                code="vault-ca-mismatch",
                remedy="set `vault.ca_key_file` and `vault.ca_file` in the environment profile to one authority",
            )
        if not authority.not_valid_before_utc <= datetime.now(UTC) <= authority.not_valid_after_utc:
            raise SettingsError(
                f"{self._ca_file} is in force from {authority.not_valid_before_utc.isoformat()} "
                f"to {authority.not_valid_after_utc.isoformat()}, which is not now",
                code="vault-ca-ended",
                remedy="see that this machine's clock is right, or make a new authority for Vaults that are to come",
            )
        return key


def _sign(
    authority: x509.Certificate, key: _Signing, own: ec.EllipticCurvePublicKey, common_name: str
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(authority.subject)
        .public_key(own)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )


def _unreadable(path: Path, what: str) -> SettingsError:
    return SettingsError(
        f"{path} cannot be read, or is no {what}",
        code="vault-ca-unreadable",
        remedy="set `vault.ca_key_file` and `vault.ca_file` in the environment profile; "
        "docs/reference/environments.md says what they are",
    )
