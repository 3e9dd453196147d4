"""The tenant program: one plan in, the whole network out. `pulumi up` and the toolkit run this function."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws
from mutx_infra.stacks.components.flow_logs import FlowLogs, FlowLogsArgs
from mutx_infra.stacks.components.network import TenantNetwork, TenantNetworkArgs
from mutx_infra.stacks.components.network_acls import LayerAcls, LayerAclsArgs
from mutx_infra.stacks.components.security_groups import TenantFirewall, TenantFirewallArgs

from mutx_infra.addressing import Layer
from mutx_infra.plan import TenantPlan


def load_vendor() -> None:
    """Load the modules that `build` touches; pulumi_aws would load each at its first use, 0.3 s in all."""
    _ = aws.ec2.Vpc, aws.vpc.SecurityGroupIngressRule, aws.iam.Role, aws.cloudwatch.LogGroup


def build(plan: TenantPlan) -> None:
    """Register every resource of the plan and export what later stages need.

    Exports: `account`, `region`, `zones`, `vpc_id`, `block`, `subnet_ids` (layer → zone → id),
    `security_group_ids` (role → id), `nat_public_ips` (zone → address), `flow_log_group`, `plan_digest`.
    """
    name = plan.tenant
    network = TenantNetwork(name, TenantNetworkArgs(plan))
    firewall = TenantFirewall(name, TenantFirewallArgs(plan, network.vpc_id, network.s3_prefix_list_id))
    LayerAcls(name, LayerAclsArgs(plan, network.vpc_id, network.subnet_ids))
    logs = FlowLogs(name, FlowLogsArgs(plan, network.vpc_id))
    for key, value in {
        "account": plan.account,
        "region": plan.region,
        "zones": list(plan.zones),
        "vpc_id": network.vpc_id,
        "block": plan.block,
        "subnet_ids": {str(layer): _by_zone(plan, layer, network) for layer in Layer},
        "security_group_ids": firewall.group_ids,
        "nat_public_ips": network.nat_public_ips,
        "flow_log_group": logs.group_name,
        "plan_digest": plan.digest,
    }.items():
        pulumi.export(key, value)


def _by_zone(plan: TenantPlan, layer: Layer, network: TenantNetwork) -> dict[str, pulumi.Output[str]]:
    return {subnet.zone: network.subnet_ids[subnet.key] for subnet in plan.subnets_of(layer)}
