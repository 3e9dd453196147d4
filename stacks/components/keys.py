"""KMS keys, one for each purpose, each with an alias; AWS rotates them every year."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from mutx_infra.grants import key_policy
from mutx_infra.hosts import KEPT_PURPOSES, KEY_DELETION_DAYS, KeyPlan, Purpose
from mutx_infra.naming import PURPOSE_TAG, resource_name
from mutx_infra.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class TenantKeysArgs:
    """What the keys are made from: the plan alone."""

    plan: TenantPlan


class TenantKeys(pulumi.ComponentResource):
    """The tenant's keys. Those that data lies under are protected: without the key the data is gone.

    Attributes:
        arns: key ARN by purpose.
    """

    def __init__(self, name: str, args: TenantKeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mutx:keys:TenantKeys", name, None, opts)
        self._name, self._plan = name, args.plan
        self.arns: dict[Purpose, pulumi.Output[str]] = {
            key.purpose: self._make_key(key) for key in args.plan.keys
        }
        self.register_outputs({"arns": {str(purpose): arn for purpose, arn in self.arns.items()}})

    def _make_key(self, key: KeyPlan) -> pulumi.Output[str]:
        logical = f"key-{key.purpose}"
        made = aws.kms.Key(
            resource_name(self._name, logical),
            description=f"{self._plan.tenant}: {key.reason}",
            policy=key_policy(self._plan, key.purpose),
            key_usage="SIGN_VERIFY" if key.usage == "sign" else "ENCRYPT_DECRYPT",
            customer_master_key_spec="ECC_NIST_P384" if key.usage == "sign" else "SYMMETRIC_DEFAULT",
            enable_key_rotation=key.usage == "encrypt",
            deletion_window_in_days=KEY_DELETION_DAYS,
            tags={**self._plan.tags_of(logical), PURPOSE_TAG: str(key.purpose)},
            opts=pulumi.ResourceOptions(parent=self, protect=key.purpose in KEPT_PURPOSES),
        )
        aws.kms.Alias(
            resource_name(self._name, f"alias-{key.purpose}"),
            name=key.alias,
            target_key_id=made.key_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return made.arn
