"""A tenant's VPC: subnets per layer and zone, routes per layer, NAT, and the S3 gateway endpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from mutx_infra.naming import LAYER_TAG, resource_name
from mutx_infra.plan import NatPlan, RoutePlan, RouteTablePlan, SubnetPlan, TenantPlan


@dataclass(frozen=True, slots=True)
class TenantNetworkArgs:
    """What a tenant's network is made from: the plan alone."""

    plan: TenantPlan


class TenantNetwork(pulumi.ComponentResource):
    """The VPC and everything that moves packets in it; what filters them stands in other components.

    Attributes:
        vpc_id: the VPC.
        subnet_ids: subnet id by subnet key (`app-a`).
        nat_public_ips: public address of each NAT gateway, by zone.
        s3_prefix_list_id: the S3 gateway endpoint's prefix list, for egress rules.
    """

    def __init__(
        self, name: str, args: TenantNetworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mutx:network:TenantNetwork", name, None, opts)
        self._name, self._plan = name, args.plan
        self._own = pulumi.ResourceOptions(parent=self)
        self._vpc = self._make_vpc()
        self.vpc_id: pulumi.Output[str] = self._vpc.id
        self._subnets = {subnet.key: self._make_subnet(subnet) for subnet in args.plan.subnets}
        self._gateway = aws.ec2.InternetGateway(
            self._child("internet-gateway"),
            vpc_id=self._vpc.id,
            tags=self._tags("internet-gateway"),
            opts=self._own,
        )
        nats = {nat.key: self._make_nat(nat) for nat in args.plan.nat_gateways}
        tables = {table.key: self._make_table(table, nats) for table in args.plan.route_tables}
        endpoint = self._make_s3_endpoint(
            [tables[table.key] for table in args.plan.route_tables if table.s3_endpoint]
        )
        self.subnet_ids = {key: subnet.id for key, subnet in self._subnets.items()}
        self.nat_public_ips = {nat.zone: nats[nat.key].public_ip for nat in args.plan.nat_gateways}
        self.s3_prefix_list_id: pulumi.Output[str] = endpoint.prefix_list_id
        self.register_outputs({"vpcId": self.vpc_id, "subnetIds": self.subnet_ids})

    def _child(self, key: str) -> str:
        return resource_name(self._name, key)

    def _tags(self, key: str) -> dict[str, str]:
        return self._plan.tags_of(key)

    def _make_vpc(self) -> aws.ec2.Vpc:
        vpc = aws.ec2.Vpc(
            self._child("vpc"),
            cidr_block=self._plan.block,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=self._tags("vpc"),
            opts=self._own,
        )
        # AWS's default group lets its members reach each other; without rules a host that lands in it is alone.
        aws.ec2.DefaultSecurityGroup(
            self._child("sg-default"),
            vpc_id=vpc.id,
            ingress=[],
            egress=[],
            tags=self._tags("sg-default"),
            opts=self._own,
        )
        return vpc

    def _make_subnet(self, subnet: SubnetPlan) -> aws.ec2.Subnet:
        return aws.ec2.Subnet(
            self._child(f"subnet-{subnet.key}"),
            vpc_id=self._vpc.id,
            cidr_block=subnet.cidr,
            availability_zone=subnet.zone,
            map_public_ip_on_launch=False,
            tags={**self._tags(f"subnet-{subnet.key}"), LAYER_TAG: str(subnet.layer)},
            opts=self._own,
        )

    def _make_nat(self, nat: NatPlan) -> aws.ec2.NatGateway:
        address = aws.ec2.Eip(
            self._child(f"address-{nat.key}"),
            domain="vpc",
            tags=self._tags(f"address-{nat.key}"),
            opts=self._own,
        )
        return aws.ec2.NatGateway(
            self._child(nat.key),
            subnet_id=self._subnets[nat.subnet].id,
            allocation_id=address.allocation_id,
            tags=self._tags(nat.key),
            # AWS refuses a public NAT gateway in a VPC without an attached internet gateway.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self._gateway]),
        )

    def _make_table(self, table: RouteTablePlan, nats: dict[str, aws.ec2.NatGateway]) -> aws.ec2.RouteTable:
        made = aws.ec2.RouteTable(
            self._child(table.key),
            vpc_id=self._vpc.id,
            tags={**self._tags(table.key), LAYER_TAG: str(table.layer)},
            opts=self._own,
        )
        for route in table.routes:
            self._make_route(route, made, nats)
        for subnet in table.subnets:
            aws.ec2.RouteTableAssociation(
                self._child(f"routes-of-{subnet}"),
                route_table_id=made.id,
                subnet_id=self._subnets[subnet].id,
                opts=self._own,
            )
        return made

    def _make_route(
        self, route: RoutePlan, table: aws.ec2.RouteTable, nats: dict[str, aws.ec2.NatGateway]
    ) -> None:
        by_nat = route.target_kind == "nat-gateway"
        aws.ec2.Route(
            self._child(route.key),
            route_table_id=table.id,
            destination_cidr_block=route.destination,
            nat_gateway_id=nats[route.target].id if by_nat else None,
            gateway_id=None if by_nat else self._gateway.id,
            opts=self._own,
        )

    def _make_s3_endpoint(self, tables: list[aws.ec2.RouteTable]) -> aws.ec2.VpcEndpoint:
        return aws.ec2.VpcEndpoint(
            self._child("endpoint-s3"),
            vpc_id=self._vpc.id,
            service_name=f"com.amazonaws.{self._plan.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            policy=_READ_ONLY_S3,
            tags=self._tags("endpoint-s3"),
            opts=self._own,
        )


# Objects may be fetched and none written: the endpoint must not become a way out for data.
_READ_ONLY_S3 = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}],
    }
)
