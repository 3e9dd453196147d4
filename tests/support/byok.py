"""What a tenant brings, and what it signs, for tests of the platform's side."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from mutx_infra.adapters.x509 import sign_receipt
from mutx_infra.records import VaultRecord
from mutx_infra.vault.receipt import Receipt, ReceiptKind
from tests.support.authorities import Authority

CLUSTER = "0c1e7a5e-0000-4000-8000-000000000001"


def a_byok(authority: Authority) -> dict[str, object]:
    """What a spec says of a tenant's own, with a seal for trials."""
    return {"admin_ca": authority.pem, "seal": {"type": "static"}}


def a_vault(**fields: object) -> VaultRecord:
    """A Vault that was made, with what a test cares about changed."""
    given = {"cluster": CLUSTER, "made_at": datetime(2026, 1, 2, tzinfo=UTC), **fields}
    return VaultRecord.model_validate(given)


def a_receipt(
    authority: Authority, folder: Path, kind: ReceiptKind, tenant: str = "acme", cluster: str = CLUSTER
) -> str:
    """A receipt, signed by one of the authority's people."""
    shown = authority.client(folder, f"ann@{tenant}.example")
    receipt = Receipt(kind=kind, tenant=tenant, cluster=cluster, at=datetime.now(UTC))
    return sign_receipt(receipt, shown).text()
