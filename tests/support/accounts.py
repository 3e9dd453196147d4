"""The sandbox's other accounts, entered by the role as the toolkit enters them."""

from __future__ import annotations

TENANT_ACCOUNT, ARCHIVE_ACCOUNT = "210987654321", "310987654321"
ROLE = {"name": "mutx-deploy", "external_id": "mutx-sandbox"}
