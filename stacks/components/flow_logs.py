"""VPC flow logs: every accepted and refused packet's header, kept as long as the plan says (ZTNA-6)."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from mutx_infra.grants import document, flow_log_grants, flow_log_trust
from mutx_infra.naming import flow_log_role, iam_path, resource_name
from mutx_infra.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class FlowLogsArgs:
    """The plan, the VPC that is logged, the log group, and the policy that bounds the role."""

    plan: TenantPlan
    vpc_id: pulumi.Input[str]
    group_arn: pulumi.Input[str]
    boundary_arn: pulumi.Input[str]


class FlowLogs(pulumi.ComponentResource):
    """The flow log, and a role that may write to its log group alone."""

    def __init__(self, name: str, args: FlowLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mutx:network:FlowLogs", name, None, opts)
        plan, own = args.plan, pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            resource_name(name, "flow-log-role"),
            name=flow_log_role(plan.tenant),
            path=iam_path(plan.tenant),
            description="VPC flow logs write to the tenant's log group",
            assume_role_policy=flow_log_trust(plan),
            permissions_boundary=args.boundary_arn,
            tags=plan.tags_of("flow-log-role"),
            opts=own,
        )
        grant = aws.iam.RolePolicy(
            resource_name(name, "flow-log-grant"),
            name="write-flow-logs",
            role=role.name,
            policy=document(flow_log_grants(plan)),
            opts=own,
        )
        aws.ec2.FlowLog(
            resource_name(name, "flow-log"),
            vpc_id=args.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=args.group_arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=60,
            tags=plan.tags_of("flow-log"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[grant]),
        )
        self.register_outputs({})
