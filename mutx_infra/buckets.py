"""The platform's buckets: stack state, history and the log archive, each under a key and a lock of its own."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mutx_infra import naming
from mutx_infra.hosts import Purpose

YEAR_DAYS = 365
SEVEN_YEARS_DAYS = 2557
"""AUDIT-1: seven years, with two leap days."""


class BucketPlan(BaseModel):
    """One bucket.

    Attributes:
        key: logical name.
        account: where it lives; the log archive may have an account of its own.
        locked_days: Object Lock's default retention in compliance mode; 0 for none.
        expire_days: after how many days an object goes by itself; 0 for never.
        purpose: the key that it is encrypted with.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    name: str
    account: str
    purpose: Purpose
    locked_days: int
    expire_days: int
    reason: str


def bucket_plans(account: str, archive_account: str, region: str) -> tuple[BucketPlan, ...]:
    """Return the platform's buckets. Their names hold account and region, since S3's names are shared by the world."""

    def bucket(key: str, purpose: Purpose, locked_days: int, expire_days: int, reason: str) -> BucketPlan:
        owner = archive_account if purpose is Purpose.ARCHIVE else account
        return BucketPlan(
            key=key,
            name=naming.bucket_name(key, owner, region),
            account=owner,
            purpose=purpose,
            locked_days=locked_days,
            expire_days=expire_days,
            reason=reason,
        )

    return (
        bucket("state", Purpose.STATE, 0, 0, "state of the stacks; versions bring back what was overwritten"),
        bucket(
            "history", Purpose.HISTORY, SEVEN_YEARS_DAYS, 0, "configuration changes, seven years (AUDIT-1)"
        ),
        bucket(
            "archive-1y",
            Purpose.ARCHIVE,
            YEAR_DAYS,
            YEAR_DAYS + 1,
            "sign-ins and key access, one year (AUDIT-1)",
        ),
        bucket(
            "archive-7y",
            Purpose.ARCHIVE,
            SEVEN_YEARS_DAYS,
            SEVEN_YEARS_DAYS + 1,
            "what outlives its tenant, seven years (AUDIT-1)",
        ),
    )
