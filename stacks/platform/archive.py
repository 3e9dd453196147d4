"""The provider for the log archive's account: the stack's own settings, and a role there.

An explicit provider inherits nothing of the stack's `aws:` config, so what it says is passed on, all but the account:
that is the archive's, and the role is the one that the config names for it.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_aws as aws

from mutx_infra.naming import ARCHIVE_ROLE_CONFIG, SESSION_NAME, resource_name
from mutx_infra.plan import TenantPlan

_SECRETS = ("accessKey", "secretKey", "token")
_TEXTS = (
    "customCaBundle", "ec2MetadataServiceEndpoint", "ec2MetadataServiceEndpointMode", "httpProxy", "httpsProxy",
    "noProxy", "profile", "retryMode", "s3UsEast1RegionalEndpoint", "stsRegion",
)  # fmt: skip
_VALUES = (
    "assumeRoleWithWebIdentity", "defaultTags", "endpoints", "ignoreTags", "insecure", "maxRetries", "s3UsePathStyle",
    "sharedConfigFiles", "sharedCredentialsFiles", "skipCredentialsValidation", "skipMetadataApiCheck",
    "skipRegionValidation", "skipRequestingAccountId", "tokenBucketRateLimiterCapacity", "useDualstackEndpoint",
    "useFipsEndpoint",
)  # fmt: skip
"""Truth values, numbers, lists and objects: as JSON in the config."""


def archive_provider(plan: TenantPlan) -> aws.Provider:
    """Register the provider that enters the archive's account; it refuses to work in any other one.

    Config: `mutx-platform:archiveRole`, an object with `roleArn` and `externalId`.

    Raises:
        pulumi.ConfigMissingError: the stack's config names no role.
    """
    role = pulumi.Config().require_object(ARCHIVE_ROLE_CONFIG)
    config = pulumi.Config("aws")
    settings: dict[str, Any] = {
        **{name: config.get(name) for name in _TEXTS},
        **{name: config.get_object(name) for name in _VALUES},
        **{name: config.get_secret(name) for name in _SECRETS},
    }
    return aws.Provider(
        resource_name(plan.tenant, "archive-account"),
        region=plan.region,
        allowed_account_ids=[plan.archive_account],
        assume_roles=[
            # A plain dictionary would have to be in camel case: the SDK translates none inside a provider's settings.
            aws.ProviderAssumeRoleArgs(
                role_arn=role["roleArn"], external_id=role["externalId"], session_name=SESSION_NAME
            )
        ],
        **{_argument(name): value for name, value in settings.items() if value is not None},
    )


def _argument(name: str) -> str:
    """Return an argument of the provider's constructor: `s3UsePathStyle` is `s3_use_path_style`."""
    spelled = name.replace("UsEast1", "_us_east1")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in spelled)
