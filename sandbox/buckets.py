"""Buckets of the sandbox, for history and archived logs: with Object Lock in compliance mode, as production's have."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from mutx_sandbox.accounts import ARCHIVE_ACCOUNT

Moto: TypeAlias = Any
"""Something of moto's, which has no types for its backends."""

HISTORY_BUCKET = "mutx-history-sandbox"
HISTORY_REGION = "us-east-1"
_HISTORY_YEARS = 7
ARCHIVE_BUCKET = "mutx-archive-sandbox"
ARCHIVE_REGION = "us-east-1"
_ARCHIVE_YEARS = 1
_ARCHIVE_KEY = f"arn:aws:kms:{ARCHIVE_REGION}:{ARCHIVE_ACCOUNT}:alias/mutx-archive"


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


def keep_history_and_archive() -> None:
    """Have two accounts own these buckets from their beginning, and again after a reset.

    The archive's lies under a key of its own account, so that no key of a tenant can take its logs along.
    """
    from moto.kms.models import KmsBackend  # noqa: PLC0415
    from moto.s3.models import S3Backend  # noqa: PLC0415
    from mutx_sandbox.daemon import ACCOUNT_ID  # noqa: PLC0415

    init, init_keys = S3Backend.__init__, KmsBackend.__init__

    def init_with_bucket(self: Moto, region_name: str, account_id: str) -> None:
        init(self, region_name, account_id)
        if (account_id, region_name) == (ACCOUNT_ID, "aws"):
            _make_locked(self, HISTORY_BUCKET, HISTORY_REGION, years=_HISTORY_YEARS)
        if (account_id, region_name) == (ARCHIVE_ACCOUNT, "aws"):
            _make_locked(self, ARCHIVE_BUCKET, ARCHIVE_REGION, years=_ARCHIVE_YEARS)
            self.put_bucket_encryption(ARCHIVE_BUCKET, _under(_ARCHIVE_KEY))

    def init_with_key(self: Moto, region_name: str, account_id: str, *more: Moto) -> None:
        init_keys(self, region_name, account_id, *more)
        if (account_id, region_name) == (ARCHIVE_ACCOUNT, ARCHIVE_REGION):
            key = self.create_key(
                policy=None, key_usage="ENCRYPT_DECRYPT", key_spec="SYMMETRIC_DEFAULT",
                description="archived logs", tags=[],
            )  # fmt: skip
            self.create_alias(key.id, _ARCHIVE_KEY.rpartition(":")[2])

    setattr(S3Backend, "__init__", init_with_bucket)  # noqa: B010 - mypy knows the class
    setattr(KmsBackend, "__init__", init_with_key)  # noqa: B010


def _make_locked(backend: Moto, name: str, region: str, *, years: int) -> None:
    from moto.s3.models import s3_backends  # noqa: PLC0415

    # A reset forgets the backend, and not that its names were taken.
    s3_backends.bucket_accounts.pop(name, None)
    backend.create_bucket(name, region)
    backend.put_bucket_versioning(name, "Enabled")
    backend.put_object_lock_configuration(name, lock_enabled=True, mode="COMPLIANCE", days=0, years=years)


def _under(key: str) -> dict[str, Any]:
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    return {"Rule": {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": "true"}}
