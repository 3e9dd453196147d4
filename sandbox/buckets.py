"""The bucket that keeps the sandbox's history: Object Lock in compliance mode for seven years, as production has it."""

from __future__ import annotations

from typing import Any, TypeAlias

Moto: TypeAlias = Any
"""Something of moto's, which has no types for its backends."""

HISTORY_BUCKET = "mutx-history-sandbox"
HISTORY_REGION = "us-east-1"
_YEARS = 7


def keep_history() -> None:
    """Have the sandbox's account own the bucket from its beginning, and again after a reset."""
    from moto.s3.models import S3Backend  # noqa: PLC0415
    from mutx_sandbox.daemon import ACCOUNT_ID  # noqa: PLC0415

    init = S3Backend.__init__

    def init_with_bucket(self: Moto, region_name: str, account_id: str) -> None:
        init(self, region_name, account_id)
        if account_id == ACCOUNT_ID and region_name == "aws":
            self.create_bucket(HISTORY_BUCKET, HISTORY_REGION)
            self.put_bucket_versioning(HISTORY_BUCKET, "Enabled")
            self.put_object_lock_configuration(
                HISTORY_BUCKET, lock_enabled=True, mode="COMPLIANCE", days=0, years=_YEARS
            )

    setattr(S3Backend, "__init__", init_with_bucket)  # noqa: B010 - mypy knows the class
