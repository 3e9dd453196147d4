"""The platform's buckets: encrypted, versioned, closed to the world, locked where the plan says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from mutx_infra.buckets import BucketPlan
from mutx_infra.grants import bucket_policy
from mutx_infra.hosts import Purpose
from mutx_infra.naming import resource_name
from mutx_infra.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class PlatformBucketsArgs:
    """The plan, and by purpose the platform's keys and what makes the buckets of another account."""

    plan: TenantPlan
    key_arns: Mapping[Purpose, pulumi.Input[str]]
    providers: Mapping[Purpose, pulumi.ProviderResource] = field(default_factory=dict)


class PlatformBuckets(pulumi.ComponentResource):
    """One bucket for each row of the plan, with its settings. All are protected: they hold what must be kept.

    Attributes:
        names: bucket name by key.
    """

    def __init__(
        self, name: str, args: PlatformBucketsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mutx:platform:PlatformBuckets", name, None, opts)
        self._name, self._args = name, args
        self.names = {bucket.key: self._make(bucket) for bucket in args.plan.buckets}
        self.register_outputs({"names": self.names})

    def _make(self, bucket: BucketPlan) -> pulumi.Output[str]:
        child = resource_name(self._name, f"bucket-{bucket.key}")
        provider = self._args.providers.get(bucket.purpose)
        own = pulumi.ResourceOptions(parent=self, provider=provider)
        made = aws.s3.Bucket(
            child,
            bucket=bucket.name,
            object_lock_enabled=bucket.locked_days > 0,
            tags=self._args.plan.tags_of(f"bucket-{bucket.key}"),
            opts=pulumi.ResourceOptions(parent=self, provider=provider, protect=True),
        )
        versioning = aws.s3.BucketVersioning(
            f"{child}-versioning",
            bucket=made.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=own,
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{child}-encryption",
            bucket=made.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": self._args.key_arns[bucket.purpose],
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=own,
        )
        closed = aws.s3.BucketPublicAccessBlock(
            f"{child}-closed",
            bucket=made.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=own,
        )
        aws.s3.BucketPolicy(
            f"{child}-policy",
            bucket=made.bucket,
            policy=bucket_policy(self._args.plan, bucket),
            # S3 refuses two changes of a bucket's access at once (OperationAborted).
            opts=pulumi.ResourceOptions(parent=self, provider=provider, depends_on=[closed]),
        )
        locked: list[pulumi.Resource] = [versioning]
        if bucket.locked_days:
            locked.append(
                aws.s3.BucketObjectLockConfiguration(
                    f"{child}-lock",
                    bucket=made.bucket,
                    rule={"default_retention": {"mode": "COMPLIANCE", "days": bucket.locked_days}},
                    opts=pulumi.ResourceOptions(parent=self, provider=provider, depends_on=[versioning]),
                )
            )
        if bucket.expire_days:
            aws.s3.BucketLifecycleConfiguration(
                f"{child}-lifecycle",
                bucket=made.bucket,
                rules=[
                    {
                        "id": "kept-long-enough",
                        "status": "Enabled",
                        "filter": {"prefix": ""},
                        "expiration": {"days": bucket.expire_days},
                        "noncurrent_version_expiration": {"noncurrent_days": 1},
                    }
                ],
                opts=pulumi.ResourceOptions(parent=self, provider=provider, depends_on=locked),
            )
        return made.bucket
