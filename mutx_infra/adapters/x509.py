"""Certificates by `cryptography`: what a tenant's administrator signs with, and what a host asks to be signed."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mutx_infra.errors import RefusedError, SettingsError
from mutx_infra.vault.receipt import Receipt, ReceiptKind, SignedReceipt, parse_receipt
from mutx_infra.vault_ports import ClientCertificate, SigningRequest

CLOCKS_DIFFER = timedelta(minutes=5)
"""By how much a receipt may be from the future: two machines' clocks."""
MAX_CHAIN = 4
_CURVES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs receipts with a client certificate's key."""

    shown: ClientCertificate

    def __call__(self, receipt: Receipt) -> SignedReceipt:
        """Return the receipt, signed."""
        return sign_receipt(receipt, self.shown)


def sign_receipt(receipt: Receipt, shown: ClientCertificate) -> SignedReceipt:
    """Sign a receipt with an administrator's client key.

    Raises:
        SettingsError: certificate or key cannot be read, do not belong together, or are of a kind that signs nothing
            (code `vault-certificate`).
    """
    try:
        chain = shown.certificate.read_text(encoding="ascii")
        leaf = x509.load_pem_x509_certificates(chain.encode())[0]
        key = serialization.load_pem_private_key(shown.key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise _unusable(shown, "cannot be used to sign") from exc
    if _public_bytes(key.public_key()) != _public_bytes(leaf.public_key()):
        raise _unusable(shown, "do not belong together")
    said = receipt.signed_bytes()
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        signature = key.sign(said, ec.ECDSA(_CURVES[key.curve.name]))
    elif isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(said, _pss(), hashes.SHA256())
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        signature = key.sign(said)
    else:
        raise _unusable(shown, "are of a kind that no receipt is signed with: take ECDSA, RSA or Ed25519")
    return SignedReceipt(
        receipt=receipt, certificate=chain, signature=base64.b64encode(signature).decode("ascii")
    )


def check_receipt(
    text: str, admin_ca: str, tenant: str, kind: ReceiptKind, *, now: datetime | None = None
) -> Receipt:
    """Return what a receipt says, once it is proved that one of the tenant's administrators signed it.

    Args:
        text: of the file.
        admin_ca: the tenant's authority in PEM, as its spec has it.
        tenant: whose receipt is expected.
        kind: of what.
        now: the time; default: this machine's.

    Raises:
        RefusedError: it is no receipt (`receipt-invalid`), another tenant's or for something else (`receipt-other`),
            by a certificate that is not of this authority or was not valid then (`receipt-signer`), changed since
            (`receipt-signature`), or from the future (`receipt-time`).
    """
    signed = parse_receipt(text)
    receipt = signed.receipt
    if receipt.tenant != tenant or receipt.kind != kind:
        raise RefusedError(
            f"this is a receipt `{receipt.kind}` of {receipt.tenant}, not `{kind}` of {tenant}",
            code="receipt-other",
            remedy="give the file that this tenant's administrator wrote for this",
        )
    if receipt.at > (now or datetime.now(UTC)) + CLOCKS_DIFFER:
        raise RefusedError(
            f"the receipt is of {receipt.at.isoformat()}, which is still to come",
            code="receipt-time",
            remedy="see that both clocks are right",
        )
    leaf = _proved_signer(signed.certificate, admin_ca, receipt.at)
    if not _is_signed_by(leaf.public_key(), base64.b64decode(signed.signature), receipt.signed_bytes()):
        raise RefusedError(
            "the receipt is not as it was signed",
            code="receipt-signature",
            remedy="ask for the file as it was written",
        )
    return receipt


def check_validity(shown: ClientCertificate, now: datetime) -> None:
    """Say what is wrong with a client certificate's time before a server does, which says less.

    Raises:
        SettingsError: it cannot be read (`vault-certificate`), has ended or has not begun (`certificate-time`).
    """
    try:
        leaf = x509.load_pem_x509_certificates(shown.certificate.read_bytes())[0]
    except (OSError, ValueError) as exc:
        raise _unusable(shown, "cannot be used") from exc
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if begin <= now <= end:
        return
    said = f"begins at {begin.isoformat()}" if now < begin else f"ended at {end.isoformat()}"
    raise SettingsError(
        f"{shown.certificate} {said}, and this machine's clock says {now.isoformat(timespec='seconds')}",
        code="certificate-time",
        remedy="set the clock, or have the tenant's authority make a new certificate",
    )


def require_admin(shown: ClientCertificate, admin_ca: str, now: datetime) -> None:
    """Refuse a hand-over file whose authority of administrators is not the one that made one's own certificate.

    Raises:
        SettingsError: so it is (code `handover-not-yours`), or it cannot be read (`vault-certificate`).
    """
    try:
        _proved_signer(shown.certificate.read_text(encoding="ascii"), admin_ca, now)
    except (OSError, ValueError) as exc:
        raise _unusable(shown, "cannot be used") from exc
    except RefusedError as exc:
        raise SettingsError(
            f"the hand-over file calls another authority the tenant's than the one that made {shown.certificate}",
            code="handover-not-yours",
            remedy="take a certificate of the authority in the tenant's spec; if you did, whoever wrote the file would "
            "rule the Vault: change nothing, and ask the platform's operator for its `byok.admin_ca`",
            detail=exc.message,
        ) from exc


def read_request(pem: str) -> SigningRequest:
    """Return what a request for a certificate asks for, once its signature shows that the asker has the key.

    Raises:
        RefusedError: it is none, or its signature is wrong (code `request-invalid`).
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        is_proved = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as exc:
        raise _no_request("it cannot be read") from exc
    if not is_proved:
        raise _no_request("its signature is not by the key that it names")
    names = [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return SigningRequest(
        common_names=tuple(names),
        key=f"EC {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__,
        fingerprint=_fingerprint(key),
    )


def common_name_of(pem: str) -> str:
    """Return the common name of a certificate in PEM; empty where it has none or cannot be read."""
    try:
        subject = x509.load_pem_x509_certificate(pem.encode()).subject
    except ValueError:
        return ""
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _proved_signer(chain_pem: str, admin_ca: str, at: datetime) -> x509.Certificate:
    """Return the signer's certificate, which leads to the authority, each link valid at that time."""
    try:
        chain = x509.load_pem_x509_certificates(chain_pem.encode())
        authority = x509.load_pem_x509_certificate(admin_ca.encode())
    except ValueError as exc:
        raise _stranger("its certificate cannot be read") from exc
    leaf, *between = chain
    links = [leaf, *(each for each in between if each != authority), authority]
    if len(links) > MAX_CHAIN:
        raise _stranger("there are too many certificates between it and the authority")
    for link, issuer in pairwise(links):
        try:
            link.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as exc:
            raise _stranger("its certificate is not by the tenant's authority") from exc
        if not _may_issue(issuer):
            raise _stranger("its certificate was made with one that is no authority")
    if any(not each.not_valid_before_utc <= at <= each.not_valid_after_utc for each in links):
        raise _stranger(f"its certificate was not valid at {at.isoformat()}")
    if not _is_a_clients(leaf):
        raise _stranger("its certificate is no client's")
    return leaf


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
    try:
        signs = certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return is_authority
    return is_authority and signs


def _is_a_clients(leaf: x509.Certificate) -> bool:
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in purposes


def _is_signed_by(key: PublicKeyTypes, signature: bytes, said: bytes) -> bool:
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
            key.verify(signature, said, ec.ECDSA(_CURVES[key.curve.name]))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, said, _pss(), hashes.SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, said)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _pss() -> padding.PSS:
    return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _fingerprint(key: PublicKeyTypes) -> str:
    """Return SHA-256 of the public key, in hex: what `openssl pkey -pubin -outform DER | sha256sum` prints."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(_public_bytes(key))
    return digest.finalize().hex()


def _unusable(shown: ClientCertificate, said: str) -> SettingsError:
    return SettingsError(
        f"{shown.certificate} and {shown.key} {said}",
        code="vault-certificate",
        remedy="give a certificate in PEM and its own key, both readable (VAULT_CLIENT_CERT, VAULT_CLIENT_KEY)",
    )


def _no_request(said: str) -> RefusedError:
    return RefusedError(
        f"the request for a certificate is of no use: {said}",
        code="request-invalid",
        remedy="have the host make a new one, and ask the platform's operator for the hand-over file anew",
    )


def _stranger(said: str) -> RefusedError:
    return RefusedError(
        f"the receipt's signer is nobody of the tenant's: {said}",
        code="receipt-signer",
        remedy="ask the tenant for a receipt signed with a client certificate of the authority in its spec",
    )
