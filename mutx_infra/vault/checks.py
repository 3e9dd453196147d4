"""What a create asks of a spec's `byok`: strong enough to begin with, and as it was once a Vault trusts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mutx_infra.byok import TransitSeal
from mutx_infra.errors import SpecError
from mutx_infra.ports import Reporter
from mutx_infra.records import TenantRecord
from mutx_infra.tenant import TenantSpec, Tier
from mutx_infra.vault.attestation import ReceiptCheck


@dataclass(frozen=True, slots=True)
class VaultChecks:
    """Looks at what tenants bring and sign; each is an adapter's, and None where nobody asks.

    Attributes:
        authority: refuses a certificate that no Vault should trust (`SpecError`, codes `byok-*`).
        receipt: checks what a tenant signed.
    """

    authority: Callable[[str], None] | None = None
    receipt: ReceiptCheck | None = None

    def require(self, spec: TenantSpec, known: TenantRecord | None) -> None:
        """Refuse an authority of no use before anything is made, and another one than the Vault was made with.

        Raises:
            SpecError: codes `byok-*`, or `spec-byok-fixed`.
        """
        if known is not None and known.vault is not None:
            if spec.byok != known.spec.byok:
                raise SpecError(
                    f"{spec.id}: `byok` is not what its Vault was made with on {known.vault.made_at:%Y-%m-%d}",
                    code="spec-byok-fixed",
                    remedy="put `byok:` back as it was; a tenant changes whom its Vault trusts in the Vault itself",
                )
        elif spec.byok is not None and self.authority is not None:
            self.authority(spec.byok.admin_ca)

    @staticmethod
    def tell(spec: TenantSpec, report: Reporter) -> None:
        """Say that a tenant that brings nothing has no Vault."""
        if spec.byok is None and spec.tier is not Tier.PLATFORM:
            report.note(
                f"{spec.id} has no Vault and can keep no key: its spec has no `byok`; add it once the tenant brings it"
            )


NO_CHECKS = VaultChecks()


def needs_token(record: TenantRecord) -> bool:
    """Say whether the Vault cannot start before somebody brings the token for the key that seals it."""
    return (
        record.vault is None
        and record.spec.byok is not None
        and isinstance(record.spec.byok.seal, TransitSeal)
    )
