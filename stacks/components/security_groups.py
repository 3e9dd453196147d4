"""Security groups by role, one rule resource per rule; rules name groups, not addresses (NET-2)."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from mutx_infra.firewall import GroupRule
from mutx_infra.naming import ROLE_TAG, resource_name, security_group_name
from mutx_infra.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class TenantFirewallArgs:
    """The plan, the VPC, and the prefix list of the S3 gateway endpoint."""

    plan: TenantPlan
    vpc_id: pulumi.Input[str]
    s3_prefix_list_id: pulumi.Input[str]


class TenantFirewall(pulumi.ComponentResource):
    """`sg-<role>` for every role, with the rules of the plan and no others.

    Attributes:
        group_ids: security group id by role (`agent`).
    """

    def __init__(
        self, name: str, args: TenantFirewallArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mutx:network:TenantFirewall", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        self._groups = {str(role): self._make_group(str(role)) for role in args.plan.roles}
        for rule in args.plan.group_rules:
            self._make_rule(rule)
        self.group_ids = {role: group.id for role, group in self._groups.items()}
        self.register_outputs({"groupIds": self.group_ids})

    def _make_group(self, role: str) -> aws.ec2.SecurityGroup:
        plan, key = self._args.plan, f"sg-{role}"
        return aws.ec2.SecurityGroup(
            resource_name(self._name, key),
            name=security_group_name(plan.tenant, role),
            description=f"Hosts of role {role}",
            vpc_id=self._args.vpc_id,
            tags={**plan.tags_of(key), ROLE_TAG: role},
            opts=self._own,
        )

    def _make_rule(self, rule: GroupRule) -> None:
        make = (
            aws.vpc.SecurityGroupIngressRule
            if rule.direction == "ingress"
            else aws.vpc.SecurityGroupEgressRule
        )
        make(
            resource_name(self._name, rule.key),
            security_group_id=self._groups[rule.group].id,
            ip_protocol=rule.protocol,
            from_port=rule.port,
            to_port=rule.port,
            referenced_security_group_id=self._groups[rule.peer_role].id if rule.peer_role else None,
            cidr_ipv4=rule.peer_cidr,
            prefix_list_id=self._args.s3_prefix_list_id if rule.peer_endpoint else None,
            description=rule.reason,
            tags=self._args.plan.tags_of(rule.key),
            opts=self._own,
        )
