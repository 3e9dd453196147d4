"""Certificates as far as a comparison needs them: which one it is, who signed it, for whom and how long."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID


def read_all(pem: str) -> list[x509.Certificate]:
    """Return the certificates in a PEM text.

    Raises:
        ValueError: there is none, or something that is none.
    """
    return x509.load_pem_x509_certificates(pem.encode())


def read_one(pem: str) -> x509.Certificate:
    """Return the one certificate in a PEM text.

    Raises:
        ValueError: there is none, or another beside it.
    """
    found = read_all(pem)
    if len(found) != 1:
        raise ValueError("there is more than one certificate")
    return found[0]


def fingerprint(certificate: x509.Certificate) -> str:
    """Return SHA-256 of a certificate's DER bytes, 64 hex digits: what `openssl x509 -fingerprint -sha256` shows."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def fingerprints(pem: object) -> str:
    """Return what stands for the certificates in a field of the Vault's: each one's SHA-256, or what is wrong."""
    if not isinstance(pem, str) or not pem.strip():
        return "no certificate"
    try:
        return " ".join(fingerprint(each) for each in read_all(pem))
    except ValueError:
        return "no readable certificate"


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Say whether an authority signed a certificate itself."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def common_name(certificate: x509.Certificate) -> str:
    """Return whom a certificate is for; an empty text where it does not say, or says it more than once."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""


def is_authority(certificate: x509.Certificate) -> bool:
    """Say whether a certificate may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def other_names(certificate: x509.Certificate) -> list[str]:
    """Return every name beside the common one."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(each.value) for each in found]


def lifetime_s(certificate: x509.Certificate) -> float:
    """Return how long a certificate is good for in all."""
    return (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds()


def is_over(certificate: x509.Certificate, at: datetime) -> bool:
    """Say whether a certificate has ended."""
    return certificate.not_valid_after_utc < at
