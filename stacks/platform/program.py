"""The platform program: one plan in, all that tenants share out. `pulumi up` and the toolkit run this function."""

from __future__ import annotations

import pulumi
from mutx_infra.stacks.components.foundation import build_foundation
from mutx_infra.stacks.platform.archive import archive_provider
from mutx_infra.stacks.platform.auditor import Auditor, AuditorArgs
from mutx_infra.stacks.platform.buckets import PlatformBuckets, PlatformBucketsArgs

from mutx_infra.flows import Role
from mutx_infra.hosts import Purpose
from mutx_infra.naming import tailnet_tag
from mutx_infra.plan import TenantPlan


def build(plan: TenantPlan) -> None:
    """Register every resource of the platform.

    Exports what `build_foundation` does, and `archive_account`, `buckets` (key → name), `signing_key_arn`,
    `auditor_role_arn`, `tailnet_tags` (role → tag).
    """
    is_apart = plan.archive_account != plan.account
    providers = {Purpose.ARCHIVE: archive_provider(plan)} if is_apart else {}
    made = build_foundation(plan, providers)
    buckets = PlatformBuckets(plan.tenant, PlatformBucketsArgs(plan, made.key_arns, providers))
    signing_key = made.key_arns[Purpose.SIGNING]
    auditor = Auditor(plan.tenant, AuditorArgs(plan, signing_key, made.boundary_arn))
    pulumi.export("archive_account", plan.archive_account)
    pulumi.export("buckets", buckets.names)
    pulumi.export("signing_key_arn", signing_key)
    pulumi.export("auditor_role_arn", auditor.role_arn)
    pulumi.export("tailnet_tags", {str(Role.CONTROL_PLANE): tailnet_tag(Role.CONTROL_PLANE)})
