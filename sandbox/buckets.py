"""Buckets of the sandbox: the one for its history has Object Lock in compliance mode, as production's has."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Moto: TypeAlias = Any
"""Something of moto's, which has no types for its backends."""

HISTORY_BUCKET = "mutx-history-sandbox"
HISTORY_REGION = "us-east-1"
_YEARS = 7


def count_loopback_as_tls() -> None:
    """AWS reads a policy's conditions; moto does not, and would deny all that a TLS-only bucket denies without TLS.

    The sandbox speaks plain HTTP on loopback, which stands for TLS here: such denials do not meet it.
    """
    from moto.s3.models import FakeBucket  # noqa: PLC0415

    ask = FakeBucket.get_permission

    def ask_with_tls(self: Moto, action: str, resource: str) -> Moto:
        policy = self.policy
        try:
            self.policy = _with_tls(policy) if policy is not None else None
            return ask(self, action, resource)
        finally:
            self.policy = policy

    setattr(FakeBucket, "get_permission", ask_with_tls)  # noqa: B010 - mypy knows the class


def _with_tls(policy: bytes) -> bytes | None:
    document = json.loads(policy)
    left = [
        statement
        for statement in document["Statement"]
        if statement.get("Condition") != {"Bool": {"aws:SecureTransport": "false"}}
    ]
    return json.dumps({**document, "Statement": left}).encode() if left else None


def keep_history() -> None:
    """Have the sandbox's account own the bucket from its beginning, and again after a reset."""
    from moto.s3.models import S3Backend, s3_backends  # noqa: PLC0415
    from mutx_sandbox.daemon import ACCOUNT_ID  # noqa: PLC0415

    init = S3Backend.__init__

    def init_with_bucket(self: Moto, region_name: str, account_id: str) -> None:
        init(self, region_name, account_id)
        if account_id == ACCOUNT_ID and region_name == "aws":
            # A reset forgets the backend, and not that its names were taken.
            s3_backends.bucket_accounts.pop(HISTORY_BUCKET, None)
            self.create_bucket(HISTORY_BUCKET, HISTORY_REGION)
            self.put_bucket_versioning(HISTORY_BUCKET, "Enabled")
            self.put_object_lock_configuration(
                HISTORY_BUCKET, lock_enabled=True, mode="COMPLIANCE", days=0, years=_YEARS
            )

    setattr(S3Backend, "__init__", init_with_bucket)  # noqa: B010 - mypy knows the class
