"""The hosts of a tenant, and the keys and logs they use: decided from its tier, before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mutx_infra import naming
from mutx_infra.flows import LAYER_OF, Role
from mutx_infra.tenant import Tier

IMAGE_PARAMETERS = {Role.GUARD: "/mutx/images/gpu"}
BASE_IMAGE_PARAMETER = "/mutx/images/base"
"""SSM parameters that name the baked images; EC2 resolves them when an instance starts (EC2 guide, "resolve:ssm")."""

FIRST_ADDRESS = 4
"""AWS keeps the first four addresses of a subnet, and the last (VPC guide, "Subnet sizing")."""

ROOT_DEVICE = "/dev/xvda"
DATA_DEVICE = "/dev/sdf"
"""Debian's images have their root on xvda; data volumes take sdf to sdp (EC2 guide, "Device names")."""


class Purpose(StrEnum):
    """What a KMS key of a tenant is for; keys are not shared between purposes, so that a grant names one of them."""

    ARCHIVE = "archive"
    DATABASE = "database"
    HISTORY = "history"
    LOGS = "logs"
    PARAMETERS = "parameters"
    SIGNING = "signing"
    STATE = "state"
    VAULT = "vault"
    VOLUMES = "volumes"


PURPOSES: dict[Purpose, str] = {
    Purpose.DATABASE: "data volumes of the database hosts",
    Purpose.LOGS: "log groups",
    Purpose.PARAMETERS: "join keys in SSM, one host's at a time",
    Purpose.VAULT: "data volumes of the Vault hosts",
    Purpose.VOLUMES: "root volumes of all hosts",
}
PLATFORM_PURPOSES: dict[Purpose, str] = {
    **PURPOSES,
    Purpose.ARCHIVE: "the log archive",
    Purpose.HISTORY: "the history of configuration changes",
    Purpose.SIGNING: "signatures of evidence",
    Purpose.STATE: "state of the stacks and the secrets in it",
}
KEPT_PURPOSES = frozenset(
    {Purpose.ARCHIVE, Purpose.DATABASE, Purpose.HISTORY, Purpose.SIGNING, Purpose.STATE, Purpose.VAULT}
)
"""Keys without which something that must be kept is lost."""
DATA_PURPOSES = {Role.DATABASE: Purpose.DATABASE, Role.VAULT: Purpose.VAULT}
"""Roles whose hosts hold data, and the key that it is under."""


KEY_DELETION_DAYS = 30
"""AWS's longest window: until then a key that was deleted by mistake can be brought back."""


FLOW_LOGS_KEY = "flow"
"""Logical name of the log group that VPC flow logs write to."""


class HostShape(BaseModel):
    """What the hosts of a role are like in a tier.

    Attributes:
        instance_type: EC2 instance type.
        count: how many, spread over the zones in turn.
        root_gib: size of the root volume.
        data_gib: size of the data volume, 0 for none.
    """

    model_config = ConfigDict(frozen=True)

    instance_type: str
    count: int = 1
    root_gib: int = 20
    data_gib: int = 0


SHAPES: dict[Tier, dict[Role, HostShape]] = {
    Tier.STARTER: {
        Role.AGENT: HostShape(instance_type="t3.medium"),
        Role.DATABASE: HostShape(instance_type="t3.medium", data_gib=20),
        Role.GUARD: HostShape(instance_type="g4dn.xlarge", root_gib=60),
        Role.MGMT: HostShape(instance_type="t3.small"),
        Role.VAULT: HostShape(instance_type="t3.small", data_gib=10),
    },
    Tier.STANDARD: {
        Role.AGENT: HostShape(instance_type="m6i.large", count=2),
        Role.DATABASE: HostShape(instance_type="m6i.large", data_gib=100),
        Role.GUARD: HostShape(instance_type="g5.xlarge", root_gib=100),
        Role.MGMT: HostShape(instance_type="t3.small"),
        Role.VAULT: HostShape(instance_type="t3.medium", count=3, data_gib=20),
    },
    Tier.PLATFORM: {
        Role.CONTROL_PLANE: HostShape(instance_type="m6i.large", count=2),
        Role.DATABASE: HostShape(instance_type="m6i.large", data_gib=100),
        Role.MGMT: HostShape(instance_type="t3.small"),
        Role.VAULT: HostShape(instance_type="t3.medium", count=3, data_gib=20),
    },
    Tier.DEDICATED: {
        Role.AGENT: HostShape(instance_type="m6i.xlarge", count=3),
        Role.DATABASE: HostShape(instance_type="r6i.xlarge", data_gib=500),
        Role.GUARD: HostShape(instance_type="g5.2xlarge", count=2, root_gib=200),
        Role.MGMT: HostShape(instance_type="t3.medium"),
        Role.VAULT: HostShape(instance_type="m6i.large", count=3, data_gib=50),
    },
}
"""Raft needs an odd number of Vault nodes; a GPU of 16 GiB (g4dn) or 24 GiB (g5) holds the guardrail's model."""


class HostPlan(BaseModel):
    """One host.

    Attributes:
        key: `<role>-<number>`, unique in the tenant and stable for its life.
        subnet: key of its subnet.
        image_parameter: SSM parameter that names its image.
        join_parameter: the one SSM parameter that it may read, write and delete.
        data_key: the key its data volume is under, None without one.
        address: in its subnet, where others must know it before it is there; else AWS chooses.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    role: Role
    zone: str
    subnet: str
    instance_type: str
    image_parameter: str
    root_gib: int
    data_gib: int
    data_key: Purpose | None
    join_parameter: str
    address: IPv4Address | None = None


class KeyPlan(BaseModel):
    """One KMS key and its alias; AWS rotates those that encrypt every year, and cannot rotate those that sign."""

    model_config = ConfigDict(frozen=True)

    purpose: Purpose
    alias: str
    reason: str
    usage: Literal["encrypt", "sign"] = "encrypt"


class LogGroupPlan(BaseModel):
    """One log group.

    Attributes:
        key: `flow`, `hosts` or `vault`.
        retention_days: enforced by CloudWatch Logs.
        control: the requirement that sets it.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    name: str
    retention_days: int
    control: str


class EndpointPlan(BaseModel):
    """One interface endpoint: an AWS service with addresses in the tenant's management subnets."""

    model_config = ConfigDict(frozen=True)

    service: str
    subnets: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name within the tenant."""
        return f"endpoint-{self.service}"


ENDPOINT_SERVICES = ("kms", "logs", "ssm")
"""What hosts call besides S3, which has a gateway endpoint in every tier."""


def has_several_guards(tier: Tier) -> bool:
    """Say whether a tenant of a tier has guards that have to agree on what agents did."""
    shape = SHAPES[tier].get(Role.GUARD)
    return shape is not None and shape.count > 1


def host_plans(tenant: str, tier: Tier, zones: tuple[str, ...]) -> tuple[HostPlan, ...]:
    """Return the hosts of a tier, role by role, each role's spread over the zones in turn."""
    return tuple(
        _host(tenant, role, number, zones[number % len(zones)], SHAPES[tier][role])
        for role in SHAPES[tier]
        for number in range(SHAPES[tier][role].count)
    )


def at_known_addresses(hosts: tuple[HostPlan, ...], subnets: Mapping[str, str]) -> tuple[HostPlan, ...]:
    """Return the hosts with the addresses of mgmt, whose proxy all others must find: each the first of its subnet.

    Args:
        hosts: as planned.
        subnets: CIDR by key.
    """
    return tuple(
        host.model_copy(update={"address": IPv4Network(subnets[host.subnet])[FIRST_ADDRESS]})
        if host.role is Role.MGMT
        else host
        for host in hosts
    )


def key_plans(tenant: str, tier: Tier) -> tuple[KeyPlan, ...]:
    """Return one key for each purpose."""
    purposes = PLATFORM_PURPOSES if tier is Tier.PLATFORM else PURPOSES
    return tuple(
        KeyPlan(
            purpose=purpose,
            alias=naming.key_alias(tenant, purpose),
            reason=reason,
            usage="sign" if purpose is Purpose.SIGNING else "encrypt",
        )
        for purpose, reason in purposes.items()
    )


def log_group_plans(tenant: str) -> tuple[LogGroupPlan, ...]:
    """Return the log groups with their retention (AUDIT-1)."""
    return (
        LogGroupPlan(
            key=FLOW_LOGS_KEY, name=naming.flow_log_group(tenant), retention_days=30, control="ZTNA-6"
        ),
        LogGroupPlan(
            key="hosts", name=naming.log_group(tenant, "hosts"), retention_days=365, control="AUDIT-1"
        ),
        LogGroupPlan(
            key="vault", name=naming.log_group(tenant, "vault-audit"), retention_days=365, control="AUDIT-1"
        ),
    )


def _host(tenant: str, role: Role, number: int, zone: str, shape: HostShape) -> HostPlan:
    key = f"{role}-{number + 1}"
    return HostPlan(
        key=key,
        role=role,
        zone=zone,
        subnet=f"{LAYER_OF[role]}-{zone[-1]}",
        instance_type=shape.instance_type,
        image_parameter=IMAGE_PARAMETERS.get(role, BASE_IMAGE_PARAMETER),
        root_gib=shape.root_gib,
        data_gib=shape.data_gib,
        data_key=DATA_PURPOSES.get(role),
        join_parameter=naming.join_parameter(tenant, key),
    )
