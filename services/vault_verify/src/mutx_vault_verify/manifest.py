"""The release's manifest: what a Vault of that release answers, signed by whoever makes the release."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mutx_vault_verify.document import canonical, parse
from mutx_vault_verify.problem import InputProblem

_KINDS: Mapping[str, type] = {
    "kind": str, "version": int, "release": str, "servers": list, "platform_authorities": list, "policies": dict,
    "policy_fields": dict, "mounts": dict, "auth": dict, "admin": str, "until_claim": list, "platform": list,
    "roles": dict, "sent": dict, "machines": dict, "machine_ttl_s": int, "authorities": dict, "machine_authority": str,
    "issuer": dict, "ssh": dict, "seals": dict, "nodes": dict, "reads": dict, "lists": dict,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest whose signature was good.

    Attributes:
        data: as it was signed; `mutx_infra/vault/manifest.py` of the toolkit makes it and explains its marks.
    """

    release: str
    data: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - what JSON may be
        """Return one part."""
        return self.data[name]


def parse_manifest(text: str, signature: str, key: str, where: str) -> Manifest:
    """Read a manifest; before its signature was found good, nothing in it counts.

    Args:
        text: JSON, in any layout: what is signed are the canonical bytes of what it says.
        signature: ECDSA (P-256, SHA-256) in DER, base64.
        key: the release's public key, PEM.
        where: for messages.

    Raises:
        InputProblem: code `manifest-key`, `manifest-forged` or `manifest-invalid`.
    """
    public = _public_key(key)
    try:
        data = parse(text)
        signed = canonical(data)
    except ValueError as error:
        raise _invalid(f"{where} is no manifest: {error}") from None
    try:
        public.verify(base64.b64decode(signature.strip(), validate=True), signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        raise InputProblem(
            f"{where} is not what the release signed: its signature does not fit it and the given key",
            code="manifest-forged",
            remedy="fetch the manifest and its signature anew; if it stays so, the key is another release's, or "
            "somebody changed the manifest",
        ) from None
    return Manifest(data["release"], data) if _is_complete(data) else _unknown_version(where)


def _is_complete(data: object) -> bool:
    return (
        isinstance(data, dict)
        and data.get("kind") == "vault-manifest"
        and data.get("version") == 1
        and set(data) == set(_KINDS)
        and all(isinstance(data[name], kind) for name, kind in _KINDS.items())
    )


def _unknown_version(where: str) -> Manifest:
    raise _invalid(f"{where} is signed, but is no manifest that this program understands")


def _public_key(pem: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError:
        key = None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise InputProblem(
        "the release's key is no public key of P-256 in PEM",
        code="manifest-key",
        remedy="take the file that the release's page names, or the one that you kept from an earlier release",
    )


def _invalid(message: str) -> InputProblem:
    return InputProblem(
        message,
        code="manifest-invalid",
        remedy="fetch the manifest anew; if it comes from a newer release, install that release's mutx-vault-verify",
    )
