"""KMS keys, one for each purpose, each with an alias; AWS rotates them every year."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from mutx_infra.grants import key_policy
from mutx_infra.hosts import KEPT_PURPOSES, KEY_DELETION_DAYS, KeyPlan, Purpose
from mutx_infra.naming import PURPOSE_TAG, resource_name
from mutx_infra.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class TenantKeysArgs:
    """The plan, and by purpose what makes the keys of another account."""

    plan: TenantPlan
    providers: Mapping[Purpose, pulumi.ProviderResource] = field(default_factory=dict)


class TenantKeys(pulumi.ComponentResource):
    """The tenant's keys. Those that data lies under are protected: without the key the data is gone.

    Attributes:
        arns: key ARN by purpose.
    """

    def __init__(self, name: str, args: TenantKeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mutx:keys:TenantKeys", name, None, opts)
        self._name, self._args = name, args
        self.arns: dict[Purpose, pulumi.Output[str]] = {
            key.purpose: self._make_key(key) for key in args.plan.keys
        }
        self.register_outputs({"arns": {str(purpose): arn for purpose, arn in self.arns.items()}})

    def _make_key(self, key: KeyPlan) -> pulumi.Output[str]:
        logical, provider = f"key-{key.purpose}", self._args.providers.get(key.purpose)
        made = aws.kms.Key(
            resource_name(self._name, logical),
            description=f"{self._args.plan.tenant}: {key.reason}",
            policy=key_policy(self._args.plan, key.purpose),
            key_usage="SIGN_VERIFY" if key.usage == "sign" else "ENCRYPT_DECRYPT",
            customer_master_key_spec="ECC_NIST_P384" if key.usage == "sign" else "SYMMETRIC_DEFAULT",
            enable_key_rotation=key.usage == "encrypt",
            deletion_window_in_days=KEY_DELETION_DAYS,
            tags={**self._args.plan.tags_of(logical), PURPOSE_TAG: str(key.purpose)},
            opts=pulumi.ResourceOptions(parent=self, provider=provider, protect=key.purpose in KEPT_PURPOSES),
        )
        aws.kms.Alias(
            resource_name(self._name, f"alias-{key.purpose}"),
            name=key.alias,
            target_key_id=made.key_id,
            opts=pulumi.ResourceOptions(parent=self, provider=provider),
        )
        return made.arn
