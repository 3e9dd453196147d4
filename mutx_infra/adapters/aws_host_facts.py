"""EC2's, KMS's, IAM's and CloudWatch's answers → the facts about hosts, keys, roles and logs. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from mutx_infra import naming
from mutx_infra.adapters.aws_listing import GONE_STATES, tags_of
from mutx_infra.host_facts import (
    BOUNDARY,
    BucketFact,
    EndpointFact,
    HostFact,
    KeyFact,
    LogGroupFact,
    RoleFact,
    VolumeFact,
    elsewhere,
    key_name,
    statements,
)
from mutx_infra.plan import TenantPlan
from mutx_infra.way_out import user_data

Items = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class RoleItem:
    """One role, or the boundary policy, with all its documents."""

    name: str
    trust: Mapping[str, Any]
    boundary: str
    policies: Items
    attached: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyItem:
    """One key behind an alias: what `DescribeKey` says, its policy, and whether AWS rotates it."""

    alias: str
    metadata: Mapping[str, Any]
    policy: str
    rotates: bool
    account: str


@dataclass(frozen=True, slots=True)
class BucketItem:
    """One bucket: each setting as its own call gives it, {} where there is none."""

    name: str
    versioning: Mapping[str, Any]
    encryption: Mapping[str, Any]
    public_access: Mapping[str, Any]
    lock: Mapping[str, Any]
    lifecycle: Mapping[str, Any]
    policy: str
    account: str


@dataclass(frozen=True, slots=True)
class HostInventory:
    """What stands in a tenant's VPC and below its names, in AWS's words.

    Attributes:
        user_data: base64 by instance id.
        names: logical name by AWS id, of subnets and groups.
    """

    instances: Items
    volumes: Items
    user_data: Mapping[str, str]
    keys: Sequence[KeyItem]
    roles: Sequence[RoleItem]
    endpoints: Items
    log_groups: Items
    buckets: Sequence[BucketItem]
    names: Mapping[str, str]


def host_facts(plan: TenantPlan, seen: HostInventory) -> dict[str, frozenset[Any]]:
    """Return the facts by field of `verification.TenantFacts`."""
    keys = {str(key.metadata["Arn"]): key_name(_purpose(plan, key)) for key in seen.keys}
    return {
        "hosts": frozenset(_hosts(plan, seen, keys)),
        "volumes": frozenset(_volumes(plan, seen, keys)),
        "keys": frozenset(
            KeyFact(
                purpose=_purpose(plan, key),
                state=key.metadata["KeyState"],
                rotates=key.rotates,
                policy=statements(key.policy),
                elsewhere=elsewhere(plan, key.account),
            )
            for key in seen.keys
        ),
        "endpoints": frozenset(_endpoints(seen)),
        "log_groups": frozenset(
            LogGroupFact(
                name=group["logGroupName"],
                retention_days=group.get("retentionInDays", 0),
                key=keys.get(group.get("kmsKeyId", ""), group.get("kmsKeyId") or "no key of the tenant"),
            )
            for group in seen.log_groups
        ),
        "roles": frozenset(_roles(plan, seen, keys)),
        "buckets": frozenset(_bucket(plan, bucket, keys) for bucket in seen.buckets),
    }


def _purpose(plan: TenantPlan, key: KeyItem) -> str:
    return key.alias.removeprefix(naming.key_alias(plan.tenant, ""))


def _hosts(plan: TenantPlan, seen: HostInventory, keys: Mapping[str, str]) -> Iterator[HostFact]:
    disks = {volume["VolumeId"]: volume for volume in seen.volumes}
    for instance in seen.instances:
        if instance["State"]["Name"] in GONE_STATES:
            continue
        tags = tags_of(instance)
        is_ours = tags.get(naming.TENANT_TAG) == plan.tenant
        name = str((is_ours and tags.get(naming.HOST_TAG)) or instance["InstanceId"])
        profile = (instance.get("IamInstanceProfile") or {}).get("Arn", "")
        yield HostFact(
            name=name,
            instance_type=instance["InstanceType"],
            subnet=seen.names.get(instance["SubnetId"], instance["SubnetId"]),
            groups=tuple(
                sorted(seen.names.get(g["GroupId"], g["GroupId"]) for g in instance["SecurityGroups"])
            ),
            identity=profile.rsplit("/", 1)[-1],
            state=instance["State"]["Name"],
            flaws=tuple(_flaws(plan, name, instance, disks, keys, seen.user_data)),
        )


def _flaws(
    plan: TenantPlan,
    name: str,
    instance: Mapping[str, Any],
    disks: Mapping[str, Mapping[str, Any]],
    keys: Mapping[str, str],
    scripts: Mapping[str, str],
) -> Iterator[str]:
    if instance.get("PublicIpAddress"):
        yield f"the public address {instance['PublicIpAddress']}"
    if instance.get("KeyName"):
        yield f"the key pair {instance['KeyName']}"
    options = instance.get("MetadataOptions") or {}
    if options.get("HttpEndpoint") != "disabled":
        if options.get("HttpTokens") != "required":
            yield "instance metadata without tokens"
        if int(options.get("HttpPutResponseHopLimit") or 1) > 1:
            yield "instance metadata beyond one hop"
    for mapping in instance.get("BlockDeviceMappings") or []:
        disk = disks.get(mapping["Ebs"]["VolumeId"], {})
        if keys.get(disk.get("KmsKeyId", "")) is None:
            yield f"{mapping['DeviceName']} under no key of the tenant"
    encoded = scripts.get(instance["InstanceId"], "")
    script = base64.b64decode(encoded).decode(errors="replace") if encoded else ""
    planned = next((host for host in plan.hosts if host.key == name), None)
    if planned is None or script != user_data(plan, planned):
        yield "other user data than the start of mutx-join"
    if planned is not None and planned.address not in (None, IPv4Address(instance["PrivateIpAddress"])):
        yield f"the address {instance['PrivateIpAddress']} instead of {planned.address}, where its proxy is looked for"


def _volumes(plan: TenantPlan, seen: HostInventory, keys: Mapping[str, str]) -> Iterator[VolumeFact]:
    hosts = {i["InstanceId"]: tags_of(i).get(naming.HOST_TAG, i["InstanceId"]) for i in seen.instances}
    roots = {
        mapping["Ebs"]["VolumeId"]
        for instance in seen.instances
        for mapping in instance.get("BlockDeviceMappings") or []
        if mapping["DeviceName"] == instance.get("RootDeviceName")
    }
    for volume in seen.volumes:
        tags = tags_of(volume)
        if volume["VolumeId"] in roots or tags.get(naming.TENANT_TAG) != plan.tenant:
            continue
        attached = [hosts.get(a["InstanceId"], a["InstanceId"]) for a in volume.get("Attachments") or []]
        yield VolumeFact(
            name=str(tags.get(naming.NAME_TAG) or volume["VolumeId"]).removeprefix(f"{plan.tenant}-"),
            size_gib=volume["Size"],
            key=keys.get(volume.get("KmsKeyId", ""), volume.get("KmsKeyId") or "not encrypted"),
            host=", ".join(attached),
        )


def _endpoints(seen: HostInventory) -> Iterator[EndpointFact]:
    for endpoint in seen.endpoints:
        is_gone = str(endpoint.get("State", "")).lower() in GONE_STATES
        if is_gone or endpoint.get("VpcEndpointType") != "Interface":
            continue
        yield EndpointFact(
            service=endpoint["ServiceName"].rsplit(".", 1)[-1],
            subnets=tuple(sorted(seen.names.get(s, s) for s in endpoint.get("SubnetIds") or [])),
            groups=tuple(sorted(seen.names.get(g["GroupId"], g["GroupId"]) for g in endpoint.get("Groups") or [])),
            private_dns=bool(endpoint.get("PrivateDnsEnabled")),
            policy=statements(endpoint.get("PolicyDocument") or "{}"),
        )  # fmt: skip


def _roles(plan: TenantPlan, seen: HostInventory, keys: Mapping[str, str]) -> Iterator[RoleFact]:
    ours = f"policy{naming.iam_path(plan.tenant)}{naming.boundary_name(plan.tenant)}"
    for role in seen.roles:
        yield RoleFact(
            name=role.name,
            trusts=statements(role.trust),
            boundary=BOUNDARY if role.boundary.endswith(f":{ours}") else role.boundary,
            grants=tuple(sorted(text for policy in role.policies for text in statements(policy, keys))),
            attached=role.attached,
        )


def _bucket(plan: TenantPlan, bucket: BucketItem, keys: Mapping[str, str]) -> BucketFact:
    rules = bucket.encryption.get("ServerSideEncryptionConfiguration", {}).get("Rules") or [{}]
    key = rules[0].get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", "")
    retention = bucket.lock.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
    kept = f"{retention['Days']} days" if retention.get("Days") else f"{retention.get('Years')} years"
    blocks = bucket.public_access.get("PublicAccessBlockConfiguration", {})
    life = [rule for rule in bucket.lifecycle.get("Rules") or [] if rule["Status"] == "Enabled"]
    return BucketFact(
        name=bucket.name,
        versioning=bucket.versioning.get("Status", ""),
        lock=f"{retention.get('Mode')} {kept}" if retention else "",
        key=keys.get(key, key or "no key of its own"),
        expires_days=min((rule.get("Expiration", {}).get("Days", 0) for rule in life), default=0),
        closed=len(blocks) == _BLOCKS and all(blocks.values()),
        policy=statements(bucket.policy or "{}"),
        elsewhere=elsewhere(plan, bucket.account),
    )


_BLOCKS = 4
"""Public ACLs and policies, each blocked when new and ignored when old."""
