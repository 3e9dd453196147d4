"""Interface endpoints: AWS services with addresses inside the VPC, where the tier asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from mutx_infra.grants import endpoint_policy
from mutx_infra.naming import resource_name
from mutx_infra.plan import TenantPlan


@dataclass(frozen=True, slots=True)
class ServiceEndpointsArgs:
    """What the endpoints belong to.

    Attributes:
        subnet_ids: by key.
        group_id: the security group `sg-endpoint`; None where the plan has none.
        after: what takes an address of the subnets first.
    """

    plan: TenantPlan
    vpc_id: pulumi.Input[str]
    subnet_ids: Mapping[str, pulumi.Input[str]]
    group_id: pulumi.Input[str] | None
    after: Sequence[pulumi.Resource] = ()


class ServiceEndpoints(pulumi.ComponentResource):
    """One interface endpoint for each service of the plan; each serves this account and this tenant's names alone.

    Attributes:
        ids: endpoint id by service.
    """

    def __init__(
        self, name: str, args: ServiceEndpointsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mutx:network:ServiceEndpoints", name, None, opts)
        plan = args.plan
        self.ids = {
            endpoint.service: aws.ec2.VpcEndpoint(
                resource_name(name, endpoint.key),
                vpc_id=args.vpc_id,
                service_name=f"com.amazonaws.{plan.region}.{endpoint.service}",
                vpc_endpoint_type="Interface",
                subnet_ids=[args.subnet_ids[subnet] for subnet in endpoint.subnets],
                security_group_ids=[args.group_id] if args.group_id is not None else None,
                private_dns_enabled=True,
                policy=endpoint_policy(plan, endpoint.service),
                tags=plan.tags_of(endpoint.key),
                opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
            ).id
            for endpoint in plan.endpoints
        }
        self.register_outputs({"ids": self.ids})
