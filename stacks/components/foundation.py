"""What every stack of the toolkit has, a tenant's and the platform's: network, hosts, keys, logs and their outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from mutx_infra.stacks.components.endpoints import ServiceEndpoints, ServiceEndpointsArgs
from mutx_infra.stacks.components.flow_logs import FlowLogs, FlowLogsArgs
from mutx_infra.stacks.components.hosts import Boundary, BoundaryArgs, TenantHosts, TenantHostsArgs
from mutx_infra.stacks.components.keys import TenantKeys, TenantKeysArgs
from mutx_infra.stacks.components.logs import TenantLogs, TenantLogsArgs
from mutx_infra.stacks.components.network import TenantNetwork, TenantNetworkArgs
from mutx_infra.stacks.components.network_acls import LayerAcls, LayerAclsArgs
from mutx_infra.stacks.components.security_groups import TenantFirewall, TenantFirewallArgs

from mutx_infra.addressing import Layer
from mutx_infra.flows import Role
from mutx_infra.hosts import FLOW_LOGS_KEY, Purpose
from mutx_infra.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class Foundation:
    """What later parts of a program build on: key ARN by purpose, and the policy that bounds every role."""

    key_arns: Mapping[Purpose, pulumi.Output[str]]
    boundary_arn: pulumi.Output[str]


def load_vendor() -> None:
    """Load the modules that programs touch; pulumi_aws would load each at its first use, 0.3 s in all."""
    _ = aws.ec2.Vpc, aws.vpc.SecurityGroupIngressRule, aws.iam.Role, aws.cloudwatch.LogGroup
    _ = aws.kms.Key, aws.ebs.Volume, aws.s3.Bucket


def build_foundation(
    plan: TenantPlan, providers: Mapping[Purpose, pulumi.ProviderResource] | None = None
) -> Foundation:
    """Register network, hosts, keys and logs of a plan, and export what later stages need.

    Exports: `account`, `region`, `zones`, `vpc_id`, `block`, `subnet_ids` (layer → zone → id),
    `security_group_ids` (role → id), `nat_public_ips` (zone → address), `endpoint_ids` (service → id), `hosts`
    (key → instance_id, private_ip, role, zone), `key_arns` (purpose → ARN), `log_groups` (key → name), `plan_digest`.

    Args:
        plan: what shall exist.
        providers: by purpose, what makes the keys of another account; none where all live in the plan's own.
    """
    name = plan.tenant
    network = TenantNetwork(name, TenantNetworkArgs(plan))
    firewall = TenantFirewall(name, TenantFirewallArgs(plan, network.vpc_id, network.s3_prefix_list_id))
    LayerAcls(name, LayerAclsArgs(plan, network.vpc_id, network.subnet_ids))
    keys = TenantKeys(name, TenantKeysArgs(plan, providers or {}))
    boundary = Boundary(name, BoundaryArgs(plan, keys.arns))
    logs = TenantLogs(name, TenantLogsArgs(plan, keys.arns))
    FlowLogs(name, FlowLogsArgs(plan, network.vpc_id, logs.arns[FLOW_LOGS_KEY], boundary.arn))
    hosts = TenantHosts(
        name, TenantHostsArgs(plan, network.subnet_ids, firewall.group_ids, keys.arns, boundary.arn)
    )
    endpoints = ServiceEndpoints(
        name,
        ServiceEndpointsArgs(
            plan,
            network.vpc_id,
            network.subnet_ids,
            firewall.group_ids.get(str(Role.ENDPOINT)),
            after=hosts.first,
        ),
    )
    for key, value in {
        "account": plan.account,
        "region": plan.region,
        "zones": list(plan.zones),
        "vpc_id": network.vpc_id,
        "block": plan.block,
        "subnet_ids": {str(layer): _by_zone(plan, layer, network) for layer in Layer},
        "security_group_ids": firewall.group_ids,
        "nat_public_ips": network.nat_public_ips,
        "endpoint_ids": endpoints.ids,
        "hosts": hosts.hosts,
        "key_arns": {str(purpose): arn for purpose, arn in keys.arns.items()},
        "log_groups": logs.names,
        "plan_digest": plan.digest,
    }.items():
        pulumi.export(key, value)
    return Foundation(keys.arns, boundary.arn)


def _by_zone(plan: TenantPlan, layer: Layer, network: TenantNetwork) -> dict[str, pulumi.Output[str]]:
    return {subnet.zone: network.subnet_ids[subnet.key] for subnet in plan.subnets_of(layer)}
