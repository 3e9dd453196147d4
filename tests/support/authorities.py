"""X.509 authorities and certificates for tests: what a tenant, the platform or a stranger holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mutx_infra.vault_ports import ClientCertificate


@dataclass(frozen=True)
class Authority:
    """A CA with its key at hand."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return pem_of(self.certificate)

    def client(
        self,
        folder: Path,
        name: str,
        *,
        ends_in: timedelta = timedelta(hours=1),
        begins_in: timedelta = timedelta(minutes=-5),
    ) -> ClientCertificate:
        """Write a client's key and certificate."""
        return self._issue(folder, name, (ExtendedKeyUsageOID.CLIENT_AUTH,), [], ends_in, begins_in)

    def server(
        self,
        folder: Path,
        name: str,
        *addresses: str,
        ends_in: timedelta = timedelta(days=1),
        begins_in: timedelta = timedelta(minutes=-5),
    ) -> ClientCertificate:
        """Write a server's key and certificate, good for some addresses."""
        names = [x509.DNSName(name), *(x509.IPAddress(ip_address(a)) for a in addresses)]
        return self._issue(folder, name, (ExtendedKeyUsageOID.SERVER_AUTH,), names, ends_in, begins_in)

    def service(self, folder: Path, name: str, ends_in: timedelta = timedelta(hours=23)) -> ClientCertificate:
        """Write a key and a certificate that is good on either side, as the Vault issues them for a host's name."""
        usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        return self._issue(folder, name, usages, [x509.DNSName(name)], ends_in)

    def _issue(
        self,
        folder: Path,
        name: str,
        usages: Sequence[x509.ObjectIdentifier],
        names: Sequence[x509.GeneralName],
        ends_in: timedelta,
        begins_in: timedelta = timedelta(minutes=-5),
    ) -> ClientCertificate:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins_in)
            .not_valid_after(now + ends_in)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _write(folder, name, builder.sign(self.key, hashes.SHA256()), key)


def make_authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def signing_request(folder: Path, name: str) -> tuple[str, Path]:
    """Return a request for a certificate in PEM, and where its key was written."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(name)).sign(key, hashes.SHA256())
    path = folder / f"{name}.request.key"
    path.write_bytes(_key_pem(key))
    return request.public_bytes(serialization.Encoding.PEM).decode(), path


def pem_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _write(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> ClientCertificate:
    shown = ClientCertificate(folder / f"{name}.pem", folder / f"{name}.key")
    shown.certificate.write_text(pem_of(certificate))
    shown.key.touch(mode=0o600)  # libpq refuses one that others may read
    shown.key.write_bytes(_key_pem(key))
    return shown


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
