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

from mutx_vault_verify.document import canonical, parse, shown
from mutx_vault_verify.problem import InputProblem

_KINDS: Mapping[str, type] = {
    "kind": str, "version": int, "release": str, "platform_authorities": list, "policies": dict, "admin": str,
    "until_claim": list, "platform": list, "sent": dict, "machine_ttl_s": int, "authorities": dict,
    "machine_authority": str, "nodes": dict, "products": dict,
}  # fmt: skip
_KINDS_OF_A_PRODUCT: Mapping[str, type] = {
    "called": str, "servers": list, "shows": dict, "unknown": dict, "builtin_policies": dict, "unlisted_policies": list,
    "policy_fields": dict, "plugin_versions": list, "mounts": dict, "auth": dict, "roles": dict, "machines": dict,
    "issuer": dict, "ssh": dict, "seals": dict, "claim": list, "begun": dict, "kept_shares": str, "reads": dict,
    "lists": dict, "unseen": dict,
}  # fmt: skip
_VERSION = 2


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

    def of(self, product: str) -> Manifest:
        """Return what holds of a Vault on one server, in one piece: nothing after this asks which server it is.

        Raises:
            InputProblem: the release knows no such server (`manifest-product`).
        """
        if product not in self.data["products"]:
            raise InputProblem(
                f"the manifest knows no server {shown(product)}, which the hand-over file says that the Vault is",
                code="manifest-product",
                remedy=f"ask the platform's operator which server it is; release {shown(self.release)} knows "
                f"{shown(sorted(self.data['products']))}",
            )
        own = self.data["products"][product]
        policies = {**self.data["policies"], **own["builtin_policies"]}
        return Manifest(self.release, {**self.data, **own, "policies": policies})


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
        and data.get("version") == _VERSION
        and _has(data, _KINDS)
        and all(_has(each, _KINDS_OF_A_PRODUCT) for each in data["products"].values())
    )


def _has(data: object, kinds: Mapping[str, type]) -> bool:
    """Whether there is each of these, of its kind, and nothing else."""
    return (
        isinstance(data, dict)
        and set(data) == set(kinds)
        and all(isinstance(data[name], kind) for name, kind in kinds.items())
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
