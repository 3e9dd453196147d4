"""One network ACL per layer: the stateless filter between subnets (NET-3), generated from the flow table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from mutx_infra.addressing import Layer
from mutx_infra.firewall import AclEntry
from mutx_infra.naming import LAYER_TAG, resource_name
from mutx_infra.plan import TenantPlan

ALL_PROTOCOLS = "-1"


@dataclass(frozen=True, slots=True)
class LayerAclsArgs:
    """The plan, the VPC, and the ids of the subnets by their key."""

    plan: TenantPlan
    vpc_id: pulumi.Input[str]
    subnet_ids: Mapping[str, pulumi.Input[str]]


class LayerAcls(pulumi.ComponentResource):
    """A network ACL for each layer, its entries, and its association with the layer's subnets."""

    def __init__(self, name: str, args: LayerAclsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mutx:network:LayerAcls", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        for layer in Layer:
            self._make_layer(layer)
        self.register_outputs({})

    def _make_layer(self, layer: Layer) -> None:
        plan, key = self._args.plan, f"acl-{layer}"
        acl = aws.ec2.NetworkAcl(
            resource_name(self._name, key),
            vpc_id=self._args.vpc_id,
            tags={**plan.tags_of(key), LAYER_TAG: str(layer)},
            opts=self._own,
        )
        entries = [self._make_entry(acl, entry) for entry in plan.acl_entries if entry.layer is layer]
        for subnet in plan.subnets_of(layer):
            aws.ec2.NetworkAclAssociation(
                resource_name(self._name, f"acl-of-{subnet.key}"),
                network_acl_id=acl.id,
                subnet_id=self._args.subnet_ids[subnet.key],
                # Entries first: a subnet must not lose traffic between association and rules on a converge.
                opts=pulumi.ResourceOptions(parent=self, depends_on=entries),
            )

    def _make_entry(self, acl: aws.ec2.NetworkAcl, entry: AclEntry) -> aws.ec2.NetworkAclRule:
        ports = None if entry.protocol == ALL_PROTOCOLS else (entry.from_port, entry.to_port)
        return aws.ec2.NetworkAclRule(
            resource_name(self._name, entry.key),
            network_acl_id=acl.id,
            rule_number=entry.number,
            egress=entry.egress,
            protocol=entry.protocol,
            rule_action=entry.action,
            cidr_block=entry.cidr,
            from_port=ports[0] if ports else None,
            to_port=ports[1] if ports else None,
            # AWS takes one entry per number and direction, so a changed flow table cannot make the new one first.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
