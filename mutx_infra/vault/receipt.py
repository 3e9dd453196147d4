"""What a tenant's administrator leaves in writing: that its Vault was made, claimed or shredded. Signed, no secret.

The signature is the administrator's own client key's, whose certificate the tenant's authority made: the platform can
check a receipt, and cannot write one. Pure; signing and checking lie in `mutx_infra.adapters.x509`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from mutx_infra.canonical import canonical_json
from mutx_infra.errors import RefusedError
from mutx_infra.tenant import TenantId

ReceiptKind = Literal["vault-initialise", "vault-claim", "vault-shred"]
MAX_CHARACTERS = 262_144
"""Of a receipt's file: what is longer is cut, and then is none."""
_PURPOSE = b"mutx-infra receipt, version 1\n"
"""Stands before what is signed, so that no signature by the same key for another purpose is one of a receipt."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Receipt(_Part):
    """What was done to a tenant's Vault.

    Attributes:
        cluster: the id that the Vault gave itself when it was made.
        at: when, in UTC.
        details: what is known beyond that; names and digests only.
    """

    version: Literal[1] = 1
    kind: ReceiptKind
    tenant: TenantId
    cluster: Annotated[str, Field(min_length=1, max_length=128)]
    at: AwareDatetime
    details: dict[str, JsonValue] = Field(default_factory=dict)

    def signed_bytes(self) -> bytes:
        """Return what a signature is made over."""
        return _PURPOSE + canonical_json(self.model_dump(mode="json"))


class SignedReceipt(_Part):
    """A receipt and its signature.

    Attributes:
        certificate: the signer's in PEM, with any between it and the tenant's authority behind it.
        signature: in base64. ECDSA with the curve's own SHA-2, RSA-PSS with SHA-256, or Ed25519: the key decides.
    """

    receipt: Receipt
    certificate: Annotated[str, Field(max_length=65536)]
    signature: Annotated[str, Field(max_length=4096, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]

    def text(self) -> str:
        """Return the file's content."""
        return self.model_dump_json(indent=2) + "\n"


def parse_receipt(text: str) -> SignedReceipt:
    """Read what `SignedReceipt.text` wrote; nothing of it is checked yet.

    Raises:
        RefusedError: it is something else (code `receipt-invalid`).
    """
    try:
        return SignedReceipt.model_validate_json(text[:MAX_CHARACTERS])
    except ValidationError as exc:
        raise RefusedError(
            f"this is no receipt of a tenant's Vault: {exc.errors(include_input=False)[0]['msg']}",
            code="receipt-invalid",
            remedy="ask the tenant's administrator for the file that `vault claim` or `vault shred` wrote",
        ) from exc
