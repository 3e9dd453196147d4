"""The fields of an environment profile that the platform's buckets, keys and accounts are for."""

from __future__ import annotations

from urllib.parse import quote

from mutx_infra.hosts import Purpose
from mutx_infra.naming import key_alias
from mutx_infra.records import TenantRecord

BACKEND_URL = "pulumi.backend_url"
SECRETS_PROVIDER = "pulumi.secrets_provider"


def profile_fields(record: TenantRecord, endpoint_url: str | None) -> dict[str, str]:
    """Return field and value; nothing before the buckets are made.

    Args:
        record: the platform's.
        endpoint_url: the profile's, which replaces every service's endpoint: the engine's own clients need it too.
    """
    buckets, region = record.outputs.get("buckets"), record.spec.region
    if not isinstance(buckets, dict):
        return {}
    here = f"?region={region}"
    endpoint = f"&endpoint={quote(endpoint_url, safe=':/')}" if endpoint_url else ""
    path_style = "&use_path_style=true" if endpoint_url else ""
    alias = key_alias(record.spec.id, Purpose.STATE)
    return {
        "history.url": f"s3://{buckets['history']}{here}",
        BACKEND_URL: f"s3://{buckets['state']}{here}{endpoint}{path_style}",
        SECRETS_PROVIDER: f"awskms://{alias}{here}{endpoint}",
        "archive.url": f"s3://{buckets['archive-1y']}{here}",
        "archive.account": archive_account(record),
    }


def archive_account(record: TenantRecord) -> str:
    """Return the account of the platform's log archive."""
    return record.spec.archive.account if record.spec.archive else record.allocation.account


def archive_text(account: str, archive: str) -> str:
    """Say where the log archive is, and whether that is apart from what it records."""
    if archive != account:
        return f"account {archive}, its own"
    return f"account {account}, not apart: whoever rules the platform's account rules its records too"
