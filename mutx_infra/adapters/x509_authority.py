"""What a tenant brings as its administrators' authority, looked at closely before a Vault trusts it."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mutx_infra.errors import SpecError

T = TypeVar("T", bound=x509.ExtensionType)
RSA_BITS, EC_BITS = 3072, 256
"""The least that is taken: 128 bits of security (NIST SP 800-57)."""


def check_authority(pem: str, now: datetime) -> None:
    """Refuse a certificate that is no authority, may not sign certificates, is not in force, or has a weak key.

    Raises:
        SpecError: codes `byok-not-understood`, `byok-not-an-authority`, `byok-signs-nothing`, `byok-expired`,
            `byok-not-yet`, `byok-key-weak`.
    """
    try:
        found = x509.load_pem_x509_certificate(pem.encode())
        key = found.public_key()
        constraints = _extension(found, x509.BasicConstraints)
        usage = _extension(found, x509.KeyUsage)
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as exc:
        raise _refused("is no X.509 certificate that can be read", code="byok-not-understood") from exc
    if constraints is None or not constraints.ca:
        raise _refused(
            "is the certificate of a person or host, not of an authority", code="byok-not-an-authority"
        )
    if usage is not None and not usage.key_cert_sign:
        raise _refused("is of an authority that may not sign certificates", code="byok-signs-nothing")
    if now > found.not_valid_after_utc:
        raise _refused(f"ended at {found.not_valid_after_utc.isoformat()}", code="byok-expired")
    if now < found.not_valid_before_utc:
        raise _refused(f"begins at {found.not_valid_before_utc.isoformat()}", code="byok-not-yet")
    if not _is_strong(key):
        raise _refused(f"has a weak key ({_described(key)})", code="byok-key-weak")


def _extension(found: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return found.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_strong(key: object) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= RSA_BITS
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.key_size >= EC_BITS
    return isinstance(key, ed25519.Ed25519PublicKey)


def _described(key: object) -> str:
    size = getattr(key, "key_size", None)
    kind = type(key).__name__.lstrip("_").removesuffix("PublicKey")
    return f"{kind}, {size} bits" if size else kind


def _refused(said: str, *, code: str) -> SpecError:
    return SpecError(
        f"`byok.admin_ca` {said}",
        code=code,
        remedy="ask the tenant for the certificate of the authority that signs its administrators' client "
        f"certificates: in force, with RSA of {RSA_BITS} bits or more, an EC key of {EC_BITS} or more, or Ed25519",
    )
