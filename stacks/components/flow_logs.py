"""VPC flow logs: every accepted and refused packet's header, kept as long as the plan says (ZTNA-6)."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from mutx_infra.naming import flow_log_group, flow_log_role, resource_name
from mutx_infra.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class FlowLogsArgs:
    """The plan and the VPC that is logged."""

    plan: TenantPlan
    vpc_id: pulumi.Input[str]


class FlowLogs(pulumi.ComponentResource):
    """A log group with retention, a role that may write to it alone, and the flow log.

    Attributes:
        group_name: the CloudWatch log group.
    """

    def __init__(self, name: str, args: FlowLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mutx:network:FlowLogs", name, None, opts)
        plan, own = args.plan, pulumi.ResourceOptions(parent=self)
        group = aws.cloudwatch.LogGroup(
            resource_name(name, "flow-log-group"),
            name=flow_log_group(plan.tenant),
            retention_in_days=plan.flow_log_retention_days,
            tags=plan.tags_of("flow-log-group"),
            opts=own,
        )
        role = aws.iam.Role(
            resource_name(name, "flow-log-role"),
            name=flow_log_role(plan.tenant),
            description="VPC flow logs write to the tenant's log group",
            assume_role_policy=_trust(plan),
            tags=plan.tags_of("flow-log-role"),
            opts=own,
        )
        grant = aws.iam.RolePolicy(
            resource_name(name, "flow-log-grant"),
            name="write-flow-logs",
            role=role.name,
            policy=group.arn.apply(_write_grant),
            opts=own,
        )
        aws.ec2.FlowLog(
            resource_name(name, "flow-log"),
            vpc_id=args.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=60,
            tags=plan.tags_of("flow-log"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[grant]),
        )
        self.group_name: pulumi.Output[str] = group.name
        self.register_outputs({"groupName": self.group_name})


def _trust(plan: TenantPlan) -> str:
    """Let the flow log service of this account and region assume the role, and no other (confused deputy)."""
    source = f"arn:{_partition(plan.region)}:ec2:{plan.region}:{plan.account}:vpc-flow-log/*"
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                    "Condition": {
                        "StringEquals": {"aws:SourceAccount": plan.account},
                        "ArnLike": {"aws:SourceArn": source},
                    },
                }
            ],
        }
    )


def _write_grant(group_arn: str) -> str:
    """Return the least that flow logs need: streams and events of one log group."""
    arn = group_arn.removesuffix(":*")
    actions = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": [arn, f"{arn}:*"]}],
        }
    )


def _partition(region: str) -> str:
    return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rsplit("-", 2)[0], "aws")
