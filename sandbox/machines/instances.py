"""Which machines there are to be: a tenant's hosts as its stack made them, or trial hosts made here for the purpose."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from mutx_sandbox.daemon import ACCOUNT_ID
from mutx_sandbox.images import IMAGES
from mutx_sandbox.machines.machine import BackendName, Machine, Wire

from mutx_infra.access import HostTarget, targets_of
from mutx_infra.adapters.aws_session import AwsSession, translated
from mutx_infra.addressing import Layer, split_block
from mutx_infra.flows import flows_of
from mutx_infra.grants import host_trust
from mutx_infra.hosts import Purpose
from mutx_infra.naming import (
    HOST_TAG,
    ROLE_TAG,
    TENANT_TAG,
    host_identity,
    iam_path,
    join_parameter,
    join_script,
    key_alias,
)
from mutx_infra.records import TenantRecord

TRIAL = "trial"
"""The tenant that trial hosts belong to; it has no stack."""
TRIAL_BLOCK = IPv4Network("10.63.255.0/24")
"""Where trial hosts stand: the last block whose addresses the tailnet has a place for."""
REGION = "eu-west-1"
MOST_TRIAL_HOSTS = 200


def tenant_machines(
    record: TenantRecord, backend: BackendName, memory_mib: int
) -> tuple[tuple[HostTarget, ...], tuple[Machine, ...]]:
    """Return the hosts of a tenant as the toolkit reaches them, and as machines to run."""
    tenant = record.spec.id
    flows = flows_of(interface_endpoints=True, platform=tenant == "platform")
    targets = targets_of(tenant, record.outputs, flows)
    allocation = record.allocation
    layout = split_block(allocation.block, len(allocation.zones))
    machines = []
    for target in targets:
        layer, subnet = next(
            (layer, subnet)
            for layer, subnets in layout.subnets.items()
            for subnet in subnets
            if target.private_ip in subnet
        )
        wire = Wire(
            vpc=str(record.outputs["vpc_id"]), block=allocation.block, subnet=subnet, address=target.private_ip,
            way_out=layer is not Layer.DATA,
        )  # fmt: skip
        machines.append(_machine(target, wire, backend, memory_mib))
    return targets, tuple(machines)


class TrialHosts:
    """Hosts of no tenant, made in the sandbox's cloud as a stack would make them."""

    def __init__(self, session: AwsSession) -> None:
        self._ec2, self._iam = session.client("ec2", REGION), session.client("iam", REGION)
        self._kms = session.client("kms", REGION)

    def ensure(self, number: int) -> tuple[HostTarget, ...]:
        """Have at least so many; returns all there are."""
        with translated("make trial hosts"):
            found = {target.key: target for target in self.all()}
            missing = [str(n) for n in range(1, number + 1) if str(n) not in found]
            if missing:
                subnet = self._subnet()
                for key in missing:
                    self._make(key, subnet)
        return self.all()

    def all(self) -> tuple[HostTarget, ...]:
        """Return the trial hosts that there are, by number."""
        with translated("list trial hosts"):
            filters = [
                {"Name": f"tag:{TENANT_TAG}", "Values": [TRIAL]},
                {"Name": "instance-state-name", "Values": ["pending", "running"]},
            ]
            found = self._ec2.describe_instances(Filters=filters)["Reservations"]
        targets = [_trial_target(instance) for entry in found for instance in entry["Instances"]]
        return tuple(sorted(targets, key=lambda target: int(target.key)))

    def machines(
        self, targets: Sequence[HostTarget], backend: BackendName, memory_mib: int
    ) -> Iterator[Machine]:
        """Yield trial hosts as machines to run."""
        for target in targets:
            wire = Wire(vpc=TRIAL, block=TRIAL_BLOCK, subnet=TRIAL_BLOCK, address=target.private_ip)
            yield _machine(target, wire, backend, memory_mib)

    def terminate(self, targets: Sequence[HostTarget]) -> None:
        """Terminate trial hosts and remove their identities."""
        with translated("terminate trial hosts"):
            for target in targets:
                self._ec2.terminate_instances(InstanceIds=[target.instance])
                self._remove_identity(host_identity(TRIAL, target.key))

    def _make(self, key: str, subnet: str) -> None:
        name, parameter = host_identity(TRIAL, key), join_parameter(TRIAL, key)
        arn = f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter{parameter}"
        statement = {
            "Effect": "Allow",
            "Action": ["ssm:GetParameter", "ssm:DeleteParameter", "ssm:PutParameter"],
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._remove_identity(name)  # what a run left that was cut off here
        self._iam.create_role(RoleName=name, Path=iam_path(TRIAL), AssumeRolePolicyDocument=host_trust())
        self._iam.put_role_policy(RoleName=name, PolicyName="join", PolicyDocument=policy)
        self._iam.create_instance_profile(InstanceProfileName=name, Path=iam_path(TRIAL))
        self._iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        tags = {TENANT_TAG: TRIAL, HOST_TAG: key, ROLE_TAG: TRIAL, "Name": f"{TRIAL}-{key}"}
        self._ec2.run_instances(
            ImageId=IMAGES["/mutx/images/base"], InstanceType="t3.small", MinCount=1, MaxCount=1, SubnetId=subnet,
            IamInstanceProfile={"Name": name}, UserData=join_script(TRIAL, key),
            MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}
            ],
        )  # fmt: skip

    def _remove_identity(self, name: str) -> None:
        """Remove a host's role and profile, as far as there are any."""
        for remove, names in (
            (self._iam.remove_role_from_instance_profile, {"InstanceProfileName": name, "RoleName": name}),
            (self._iam.delete_instance_profile, {"InstanceProfileName": name}),
            (self._iam.delete_role_policy, {"RoleName": name, "PolicyName": "join"}),
            (self._iam.delete_role, {"RoleName": name}),
        ):
            with suppress(self._iam.exceptions.NoSuchEntityException):
                remove(**names)

    def _subnet(self) -> str:
        """Return the subnet of the trial hosts; made, with the key for their parameters, where it is not there."""
        found = self._ec2.describe_subnets(Filters=[{"Name": "cidr-block", "Values": [str(TRIAL_BLOCK)]}])[
            "Subnets"
        ]
        if found:
            return str(found[0]["SubnetId"])
        key = self._kms.create_key(Description="join keys of trial hosts")["KeyMetadata"]["KeyId"]
        self._kms.create_alias(AliasName=key_alias(TRIAL, Purpose.PARAMETERS), TargetKeyId=key)
        vpc = self._ec2.create_vpc(CidrBlock=str(TRIAL_BLOCK))["Vpc"]["VpcId"]
        return str(self._ec2.create_subnet(VpcId=vpc, CidrBlock=str(TRIAL_BLOCK))["Subnet"]["SubnetId"])


def _machine(target: HostTarget, wire: Wire, backend: BackendName, memory_mib: int) -> Machine:
    return Machine(
        name=target.name, instance=target.instance, account=target.account, region=target.region, wire=wire,
        tailnet=target.on_tailnet, backend=backend, memory_mib=memory_mib,
    )  # fmt: skip


def _trial_target(instance: dict[str, Any]) -> HostTarget:
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    return HostTarget(
        tenant=TRIAL, account=ACCOUNT_ID, region=REGION, key=tags[HOST_TAG], instance=instance["InstanceId"],
        role=TRIAL, private_ip=IPv4Address(instance["PrivateIpAddress"]), on_tailnet=True,
    )  # fmt: skip
