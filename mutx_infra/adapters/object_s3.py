"""Objects in an S3 bucket with Object Lock, which refuses to delete or overwrite them until their time has come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mutx_infra.adapters.aws_session import AwsSession, translated
from mutx_infra.naming import RETAINED_TAG, TENANT_TAG
from mutx_infra.records import StoredObject, Tombstone

_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}
_MISSING = {"NoSuchKey", "NoSuchVersion"}
_DAYS = {"Days": 1, "Years": 365.25}
_UNLOCKED = {"ObjectLockConfigurationNotFoundError", "ObjectLockConfigurationNotFound"}
_AT_ONCE = 12


class _Version(NamedTuple):
    """One version of an object, or a delete marker over it."""

    key: str
    id: str
    is_marker: bool = False


class S3Objects:
    """`ObjectStore` over a bucket.

    Args:
        session: AWS clients of the bucket's account.
        url: `s3://BUCKET[/PREFIX][?region=REGION]`.
        what: what is kept there, for messages.
        owner: the account that the bucket must belong to; None where any may have it.
    """

    def __init__(
        self, session: AwsSession, url: str, what: str = "history", owner: str | None = None
    ) -> None:
        parts = urlsplit(url)
        query = dict(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
        self._prefix = f"{parts.path.strip('/')}/".lstrip("/")
        self._bucket: dict[str, str] = {"Bucket": parts.netloc}
        if owner is not None:
            self._bucket["ExpectedBucketOwner"] = owner
        self._session, self._region, self._what = session, query.get("region", "us-east-1"), what

    def put_once(self, name: str, content: bytes) -> bool:
        """Write an object that does not exist yet; S3 decides (conditional write). Then tag it as its lock says."""
        s3, key = self._client(), self._prefix + name
        with translated(f"keep the {self._what}"):
            try:
                written = s3.put_object(
                    **self._bucket, Key=key, Body=content, IfNoneMatch="*", ChecksumAlgorithm="SHA256"
                )
            except s3.exceptions.ClientError as exc:
                if exc.response["Error"]["Code"] in _TAKEN:
                    return False
                raise
            version = _Version(key, written.get("VersionId", ""))
            until = self._lock_of(version) if version.id else None
            if until is not None:
                self._tag(version, until, {})
        return True

    def get(self, name: str, version: str = "") -> bytes | None:
        """Return the content of an object's version, the newest by default."""
        s3 = self._client()
        named = {"VersionId": version} if version else {}
        with translated(f"read the {self._what}"):
            try:
                answer = s3.get_object(**self._bucket, Key=self._prefix + name, **named)
            except s3.exceptions.ClientError as exc:
                if exc.response["Error"]["Code"] in _MISSING:
                    return None
                raise
            body: bytes = answer["Body"].read()
            return body

    def names(self, prefix: str) -> tuple[str, ...]:
        """Return the names that start with a prefix."""
        with translated(f"list the {self._what}"):
            pages = (
                self._client()
                .get_paginator("list_objects_v2")
                .paginate(**self._bucket, Prefix=self._prefix + prefix)
            )
            return tuple(
                str(entry["Key"]).removeprefix(self._prefix)
                for page in pages
                for entry in page.get("Contents") or []
            )

    def stored(self, prefix: str) -> tuple[StoredObject, ...]:
        """Return what was ever written below a prefix: S3 lists an object's versions from the newest to the oldest."""
        found = []
        for key, versions in groupby(self._versions(prefix), key=lambda version: version.key):
            listed = list(versions)
            written = [version for version in listed if not version.is_marker]
            if written:
                name = key.removeprefix(self._prefix)
                found.append(StoredObject(name, written[-1].id, is_covered=len(listed) > 1))
        return tuple(found)

    def locked(self, prefix: str, kind: str) -> tuple[Tombstone, ...]:
        """Return every version below a prefix with its lock and tags, read back from S3."""
        return tuple(
            Tombstone(
                kind=kind,
                id=f"s3://{self._bucket['Bucket']}/{version.key}?versionId={version.id}",
                purpose=version.key.removeprefix(self._prefix).split("/")[-2],
                is_going=until is not None,
                goes_at=until,
                retained_until=tags.get(RETAINED_TAG),
                is_locked=until is not None,
                tenant=tags.get(TENANT_TAG),
            )
            for version, until, tags in self._seen(prefix)
        )

    def mark(self, prefix: str) -> None:
        """Tag anew what is not tagged as its lock says: by a process that died before, or by an older program."""
        for version, until, tags in self._seen(prefix):
            if until is not None and not self._tags_for(version, until).items() <= tags.items():
                with translated(f"tag the {self._what}"):
                    self._tag(version, until, tags)

    def retention_days(self) -> int | None:
        """Return the default retention in compliance mode; 0 where the bucket has none."""
        s3 = self._client()
        with translated(f"read the retention of the {self._what}"):
            try:
                answer = s3.get_object_lock_configuration(**self._bucket)
            except s3.exceptions.ClientError as exc:
                if exc.response["Error"]["Code"] in _UNLOCKED:
                    return 0
                raise
        retention = answer["ObjectLockConfiguration"].get("Rule", {}).get("DefaultRetention", {})
        if retention.get("Mode") != "COMPLIANCE":
            return 0
        return next((round(retention[unit] * days) for unit, days in _DAYS.items() if retention.get(unit)), 0)

    def _versions(self, prefix: str) -> Iterator[_Version]:
        """Yield versions and delete markers by key, the newest of a key first: S3 has them in two lists a page."""
        pages = self._client().get_paginator("list_object_versions")
        with translated(f"list the {self._what}"):
            for page in pages.paginate(**self._bucket, Prefix=self._prefix + prefix):
                found = [
                    (
                        entry["Key"],
                        entry["LastModified"],
                        _Version(entry["Key"], entry["VersionId"], is_marker),
                    )
                    for part, is_marker in (("Versions", False), ("DeleteMarkers", True))
                    for entry in page.get(part) or []
                ]
                # The sort is stable: versions of one second stay in S3's order.
                for _key, _time, version in sorted(found, key=lambda one: (one[0], -one[1].timestamp())):
                    yield version

    def _seen(self, prefix: str) -> list[tuple[_Version, datetime | None, dict[str, str]]]:
        versions = [version for version in self._versions(prefix) if not version.is_marker]
        with translated(f"read the locks of the {self._what}"), ThreadPoolExecutor(_AT_ONCE) as pool:
            locks, tags = pool.map(self._lock_of, versions), pool.map(self._tags_of, versions)
            return list(zip(versions, locks, tags, strict=True))

    def _lock_of(self, version: _Version) -> datetime | None:
        """Return until when S3 refuses to delete a version, whoever asks; None for a lock that somebody can lift."""
        head = self._client().head_object(**self._bucket, Key=version.key, VersionId=version.id)
        until: datetime | None = head.get("ObjectLockRetainUntilDate")
        return until if head.get("ObjectLockMode") == "COMPLIANCE" else None

    def _tags_of(self, version: _Version) -> dict[str, str]:
        answer = self._client().get_object_tagging(**self._bucket, Key=version.key, VersionId=version.id)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def _tags_for(self, version: _Version, until: datetime) -> dict[str, str]:
        tenant = version.key.removeprefix(self._prefix).partition("/")[0]
        return {TENANT_TAG: tenant, RETAINED_TAG: until.astimezone(UTC).date().isoformat()}

    def _tag(self, version: _Version, until: datetime, others: Mapping[str, str]) -> None:
        tags = {**others, **self._tags_for(version, until)}
        self._client().put_object_tagging(
            **self._bucket,
            Key=version.key,
            VersionId=version.id,
            Tagging={"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]},
        )

    def _client(self) -> Any:  # noqa: ANN401 - botocore builds its classes at run time
        return self._session.client("s3", self._region)
