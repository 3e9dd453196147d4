"""What a destroy asks for where the tenant's Vault was handed over: the tenant's word that it shredded it, or time.

The platform can delete every volume; it cannot say that no key was left. Only the tenant can, in a signed receipt.
Where it does not answer, the platform may go on after a notice, and that nobody attested it stays in the history.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from mutx_infra.errors import RefusedError
from mutx_infra.records import TenantRecord, VaultRecord

if TYPE_CHECKING:
    from mutx_infra.vault.receipt import Receipt, ReceiptKind

UNATTESTED = "unattested"
"""How the history calls it where the tenant never answered."""


class ReceiptCheck(Protocol):
    """Checks a signed receipt: `mutx_infra.adapters.x509.check_receipt`."""

    def __call__(self, text: str, admin_ca: str, tenant: str, kind: ReceiptKind) -> Receipt:
        """Return what it says.

        Raises:
            RefusedError: it is none, another's, or not signed by one of the tenant's administrators (`receipt-*`).
        """


@dataclass(frozen=True, slots=True)
class ShredProof:
    """What an operator has to show.

    Attributes:
        receipt: the signed receipt's text; empty where there is none.
        is_unattested: go on without, once the notice has run out.
    """

    receipt: str = ""
    is_unattested: bool = False


NO_PROOF = ShredProof()


def needs_proof(record: TenantRecord) -> bool:
    """Say whether the tenant's word is needed: its Vault is its own, and it has not given its word yet."""
    return record.vault is not None and record.is_handed_over and not record.vault.attestation


def attest(
    record: TenantRecord, proof: ShredProof, check: ReceiptCheck, notice: timedelta, now: datetime
) -> VaultRecord:
    """Return the Vault's record with what was attested.

    Args:
        record: of a tenant whose word is needed.
        proof: what the operator has.
        check: of receipts.
        notice: from the first refusal on.
        now: the time.

    Raises:
        RefusedError: the receipt is of no use, or of another Vault (`receipt-cluster`); there is none and the notice
            runs (`shred-receipt-missing`).
    """
    assert record.vault is not None  # noqa: S101 - as `needs_proof` says
    assert record.spec.byok is not None  # noqa: S101 - it stays as long as the Vault does
    tenant, vault = record.spec.id, record.vault
    if proof.receipt:
        receipt = check(proof.receipt, record.spec.byok.admin_ca, tenant, "vault-shred")
        require_cluster(receipt, vault)
        digest = sha256(proof.receipt.encode()).hexdigest()
        said = f"shredded by its tenant at {receipt.at.isoformat()}, receipt {digest}"
        return vault.model_copy(update={"attestation": said})
    asked = vault.shred_asked_at or now
    until = asked + notice
    if proof.is_unattested and vault.shred_asked_at is not None and now >= until:
        return vault.model_copy(
            update={"attestation": f"{UNATTESTED}: no receipt since {asked.isoformat(timespec='seconds')}"}
        )
    raise RefusedError(
        f"the Vault of {tenant} is its tenant's, and the tenant's word that it was shredded is missing",
        code="shred-receipt-missing",
        remedy=f"have the tenant run `mutx-infra vault shred {tenant}`, and give its receipt with "
        "`--shred-receipt FILE`; "
        f"from {until:%Y-%m-%d %H:%M} UTC on `--unattested` goes on without, and the history says so",
    )


def require_cluster(receipt: Receipt, vault: VaultRecord) -> None:
    """Refuse a receipt of another Vault, such as one of an earlier life of the same tenant.

    Raises:
        RefusedError: code `receipt-cluster`.
    """
    if receipt.cluster != vault.cluster:
        raise RefusedError(
            f"the receipt is of the Vault {receipt.cluster}, this tenant's is {vault.cluster}",
            code="receipt-cluster",
            remedy="give the receipt of this Vault: a tenant that was made anew has another one than before",
        )
