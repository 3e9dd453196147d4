"""The tenant's hosts: identities with one join key each, launch templates by role, instances, data volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from mutx_infra.grants import boundary_grants, document, host_grants, host_trust
from mutx_infra.hosts import DATA_DEVICE, ROOT_DEVICE, HostPlan, Purpose
from mutx_infra.naming import (
    HOST_TAG,
    ROLE_TAG,
    boundary_name,
    host_identity,
    iam_path,
    launch_template_name,
    resource_name,
    tags_for,
)
from mutx_infra.plan import TenantPlan
from mutx_infra.way_out import user_data


@dataclass(frozen=True, slots=True)
class BoundaryArgs:
    """The plan, and the tenant's keys by purpose."""

    plan: TenantPlan
    key_arns: Mapping[Purpose, pulumi.Input[str]]


class Boundary(pulumi.ComponentResource):
    """The managed policy that bounds every role of the stack, whatever is attached to one later.

    Attributes:
        arn: the policy.
    """

    def __init__(self, name: str, args: BoundaryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mutx:identity:Boundary", name, None, opts)
        plan = args.plan
        policy = aws.iam.Policy(
            resource_name(name, "boundary"),
            name=boundary_name(plan.tenant),
            path=iam_path(plan.tenant),
            description="The most that a role of this tenant's stack may do",
            policy=pulumi.Output.all(**{str(purpose): arn for purpose, arn in args.key_arns.items()}).apply(
                lambda arns: document(boundary_grants(plan, lambda purpose: arns[str(purpose)]))
            ),
            tags=plan.tags_of("boundary"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn: pulumi.Output[str] = policy.arn
        self.register_outputs({"arn": self.arn})


@dataclass(frozen=True, slots=True)
class TenantHostsArgs:
    """The plan, and what the hosts stand in and use: subnets by key, groups by role, keys, boundary."""

    plan: TenantPlan
    subnet_ids: Mapping[str, pulumi.Input[str]]
    group_ids: Mapping[str, pulumi.Input[str]]
    key_arns: Mapping[Purpose, pulumi.Input[str]]
    boundary_arn: pulumi.Input[str]


class TenantHosts(pulumi.ComponentResource):
    """Every host of the plan.

    A host has no public address, no key pair and no way in but `mutx-join`, which its user data starts. Instances
    can be replaced; data lies on volumes of its own, which are protected and are attached to the new instance.
    mgmt comes first, at an address that all others know: before anything else takes one of its subnet.

    Attributes:
        hosts: by key: instance id, private address, role, zone.
        first: what must be there before anything else that takes an address.
    """

    def __init__(self, name: str, args: TenantHostsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mutx:hosts:TenantHosts", name, None, opts)
        self._name, self._args, self._plan = name, args, args.plan
        self._own = pulumi.ResourceOptions(parent=self)
        roles = {host.role: host for host in self._plan.hosts}
        self._templates = {role: self._make_template(host) for role, host in roles.items()}
        self.first: list[aws.ec2.Instance] = []
        by_need = sorted(self._plan.hosts, key=lambda host: host.address is None)
        self.hosts = {host.key: self._make_host(host) for host in by_need}
        self.register_outputs({"hosts": self.hosts})

    def _make_template(self, host: HostPlan) -> aws.ec2.LaunchTemplate:
        """Make a role's template; all hosts of a role are alike.

        What it makes (root volumes, network interfaces) has the tags that no spec changes: another content of a
        template is another version, and another version replaces every host.
        """
        role, key = host.role, f"template-{host.role}"
        fixed = {**tags_for(self._plan.tenant, key, {}), ROLE_TAG: str(role)}
        return aws.ec2.LaunchTemplate(
            resource_name(self._name, key),
            name=launch_template_name(self._plan.tenant, role),
            description=f"Hosts of role {role}",
            image_id=f"resolve:ssm:{host.image_parameter}",
            instance_type=host.instance_type,
            update_default_version=True,
            vpc_security_group_ids=[self._args.group_ids[str(role)]],
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 1,
                "http_protocol_ipv6": "disabled",
            },
            block_device_mappings=[
                {
                    "device_name": ROOT_DEVICE,
                    "ebs": {
                        "encrypted": "true",
                        "kms_key_id": self._args.key_arns[Purpose.VOLUMES],
                        "volume_size": host.root_gib,
                        "volume_type": "gp3",
                        "delete_on_termination": "true",
                    },
                }
            ],
            tag_specifications=[
                {"resource_type": kind, "tags": fixed} for kind in ("network-interface", "volume")
            ],
            tags={**self._plan.tags_of(key), ROLE_TAG: str(role)},
            opts=self._own,
        )

    def _make_host(self, host: HostPlan) -> dict[str, pulumi.Input[str]]:
        template = self._templates[host.role]
        tags = {**self._plan.tags_of(host.key), ROLE_TAG: str(host.role), HOST_TAG: host.key}
        instance = aws.ec2.Instance(
            resource_name(self._name, host.key),
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            subnet_id=self._args.subnet_ids[host.subnet],
            iam_instance_profile=self._make_identity(host),
            private_ip=str(host.address) if host.address else None,
            user_data=user_data(self._plan, host),
            tags=tags,
            # An address has one host at a time: the old one is gone before the new one comes.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(self.first),
                delete_before_replace=host.address is not None or None,
            ),
        )
        if host.address is not None:
            self.first.append(instance)
        if host.data_key is not None:
            self._make_data_volume(host, host.data_key, instance)
        return {
            "instance_id": instance.id,
            "private_ip": instance.private_ip,
            "role": str(host.role),
            "zone": host.zone,
        }

    def _make_identity(self, host: HostPlan) -> pulumi.Output[str]:
        plan, identity = self._plan, host_identity(self._plan.tenant, host.key)
        role = aws.iam.Role(
            resource_name(self._name, f"role-{host.key}"),
            name=identity,
            path=iam_path(plan.tenant),
            description=f"Host {host.key}: its join key and its logs, nothing else",
            assume_role_policy=host_trust(),
            permissions_boundary=self._args.boundary_arn,
            tags=plan.tags_of(f"role-{host.key}"),
            opts=self._own,
        )
        grant = aws.iam.RolePolicy(
            resource_name(self._name, f"grant-{host.key}"),
            name="join-and-log",
            role=role.name,
            policy=pulumi.Output.from_input(self._args.key_arns[Purpose.PARAMETERS]).apply(
                lambda arn: document(host_grants(plan, host, lambda _: arn))
            ),
            opts=self._own,
        )
        profile = aws.iam.InstanceProfile(
            resource_name(self._name, f"profile-{host.key}"),
            name=identity,
            path=iam_path(plan.tenant),
            role=role.name,
            tags=plan.tags_of(f"profile-{host.key}"),
            # A host that starts before its grant is there joins nothing.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[grant]),
        )
        return profile.name

    def _make_data_volume(self, host: HostPlan, key: Purpose, instance: aws.ec2.Instance) -> None:
        name = f"data-{host.key}"
        volume = aws.ebs.Volume(
            resource_name(self._name, name),
            availability_zone=host.zone,
            size=host.data_gib,
            type="gp3",
            encrypted=True,
            kms_key_id=self._args.key_arns[key],
            tags={**self._plan.tags_of(name), ROLE_TAG: str(host.role)},
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        aws.ec2.VolumeAttachment(
            resource_name(self._name, f"attachment-{host.key}"),
            device_name=DATA_DEVICE,
            volume_id=volume.id,
            instance_id=instance.id,
            # A volume has one host at a time: the old one lets go before the new one takes it.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
