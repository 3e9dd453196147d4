"""Certificates that a tenant gives back for its hosts, held against what the hosts asked for."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID


def is_for_request(certificate: str, request: str) -> bool:
    """Say whether a certificate in PEM has key and name of a request in PEM; what cannot be read has neither."""
    try:
        given, asked = (
            x509.load_pem_x509_certificate(certificate.encode()),
            x509.load_pem_x509_csr(request.encode()),
        )
        return given.public_key() == asked.public_key() and _names(given.subject) == _names(asked.subject)
    except (ValueError, UnsupportedAlgorithm):
        return False


def _names(subject: x509.Name) -> list[str]:
    return [str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
