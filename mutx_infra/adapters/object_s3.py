"""Objects in an S3 bucket with Object Lock, which refuses to delete or overwrite them until their time has come."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from mutx_infra.adapters.aws_session import AwsSession, translated

_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}
_DAYS = {"Days": 1, "Years": 365.25}
_UNLOCKED = {"ObjectLockConfigurationNotFoundError", "ObjectLockConfigurationNotFound"}


class S3Objects:
    """`ObjectStore` over a bucket.

    Args:
        session: AWS clients.
        url: `s3://BUCKET[/PREFIX][?region=REGION]`.
    """

    def __init__(self, session: AwsSession, url: str) -> None:
        parts = urlsplit(url)
        query = dict(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
        self._bucket, self._prefix = parts.netloc, f"{parts.path.strip('/')}/".lstrip("/")
        self._session, self._region = session, query.get("region", "us-east-1")

    def put_once(self, name: str, content: bytes) -> bool:
        """Write an object that does not exist yet; S3 decides (conditional write)."""
        s3 = self._client()
        with translated("keep the history"):
            try:
                s3.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + name,
                    Body=content,
                    IfNoneMatch="*",
                    ChecksumAlgorithm="SHA256",
                )
            except s3.exceptions.ClientError as exc:
                if exc.response["Error"]["Code"] in _TAKEN:
                    return False
                raise
        return True

    def get(self, name: str) -> bytes | None:
        """Return an object's newest version."""
        s3 = self._client()
        with translated("read the history"):
            try:
                answer = s3.get_object(Bucket=self._bucket, Key=self._prefix + name)
            except s3.exceptions.NoSuchKey:
                return None
            body: bytes = answer["Body"].read()
            return body

    def names(self, prefix: str) -> tuple[str, ...]:
        """Return the names that start with a prefix."""
        with translated("list the history"):
            pages = (
                self._client()
                .get_paginator("list_objects_v2")
                .paginate(Bucket=self._bucket, Prefix=self._prefix + prefix)
            )
            return tuple(
                str(entry["Key"]).removeprefix(self._prefix)
                for page in pages
                for entry in page.get("Contents") or []
            )

    def retention_days(self) -> int | None:
        """Return the default retention in compliance mode; 0 where the bucket has none."""
        s3 = self._client()
        with translated("read the retention of the history"):
            try:
                answer = s3.get_object_lock_configuration(Bucket=self._bucket)
            except s3.exceptions.ClientError as exc:
                if exc.response["Error"]["Code"] in _UNLOCKED:
                    return 0
                raise
        retention = answer["ObjectLockConfiguration"].get("Rule", {}).get("DefaultRetention", {})
        if retention.get("Mode") != "COMPLIANCE":
            return 0
        return next((round(retention[unit] * days) for unit, days in _DAYS.items() if retention.get(unit)), 0)

    def _client(self) -> Any:  # noqa: ANN401 - botocore builds its classes at run time
        return self._session.client("s3", self._region)
