"""Log groups with their retention (AUDIT-1), under the tenant's key for logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from mutx_infra.hosts import FLOW_LOGS_KEY, Purpose
from mutx_infra.naming import resource_name
from mutx_infra.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class TenantLogsArgs:
    """The plan, and the tenant's keys by purpose."""

    plan: TenantPlan
    key_arns: Mapping[Purpose, pulumi.Input[str]]


class TenantLogs(pulumi.ComponentResource):
    """One group for each kind of record; CloudWatch Logs deletes what is older than the plan says.

    All are protected: `mutx-infra tenant destroy` archives what they hold first, a plain `pulumi destroy` does not.

    Attributes:
        arns: log group ARN by key (`flow`).
        names: log group name by key.
    """

    def __init__(self, name: str, args: TenantLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mutx:logs:TenantLogs", name, None, opts)
        plan = args.plan
        groups = {
            group.key: aws.cloudwatch.LogGroup(
                resource_name(name, f"{group.key}-log-group"),
                name=group.name,
                retention_in_days=group.retention_days,
                kms_key_id=args.key_arns[Purpose.LOGS],
                tags=plan.tags_of(f"{group.key}-log-group"),
                opts=pulumi.ResourceOptions(
                    parent=self, protect=True, aliases=_former(name) if group.key == FLOW_LOGS_KEY else None
                ),
            )
            for group in plan.log_groups
        }
        self.arns: dict[str, pulumi.Output[str]] = {key: group.arn for key, group in groups.items()}
        self.names: dict[str, pulumi.Output[str]] = {key: group.name for key, group in groups.items()}
        self.register_outputs({"names": self.names})


def _former(name: str) -> list[pulumi.Input[str | pulumi.Alias]]:
    """Return where the flow logs' group stood before it had others beside it: below the flow logs themselves."""
    urn = f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::mutx:network:FlowLogs::{name}"
    return [pulumi.Alias(parent=urn)]
