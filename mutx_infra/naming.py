"""Every outward name and tag, one pure function each.

A name that is too long keeps its start and gets a digest of the whole, so that two long tenants which share a
prefix never share a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256

PROJECT = "mutx-tenant"
"""The Pulumi project of the tenant stacks; part of every URN, so it never changes."""

PLATFORM_PROJECT = "mutx-platform"
"""The Pulumi project of the platform's stack."""

TAILNET_PROJECT, TAILNET_STACK = "mutx-tailnet", "tailnet"
"""The Pulumi project of the tailnet, and its one stack."""

ARCHIVE_ROLE_CONFIG = "archiveRole"
"""Config key of the platform's project: the role by which the log archive's account is entered."""

TENANT_TAG = "mutx:tenant"
NAME_TAG = "Name"
SESSION_NAME = "mutx-infra"
"""How the toolkit calls itself where it assumes a role; CloudTrail shows it."""

LAYER_TAG = "mutx:layer"
ROLE_TAG = "mutx:role"
HOST_TAG = "mutx:host"
PURPOSE_TAG = "mutx:purpose"
RETAINED_TAG = "mutx:retained-until"
WAY_OUT_FILE = "/etc/mutx/way-out.env"
"""On a host: the environment of programs that leave it, as systemd reads it."""
"""On what outlives its tenant: the day (ISO 8601) on which it goes."""

_PLATFORM = "platform"
_DIGEST_LENGTH = 8


def bounded(name: str, limit: int) -> str:
    """Return `name`, or where it is longer than `limit` its start, a dash and eight hex digits of its SHA-256."""
    if len(name) <= limit:
        return name
    digest = sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: limit - _DIGEST_LENGTH - 1].rstrip('-')}-{digest}"


def stack_name(tenant: str) -> str:
    """Return the Pulumi stack of a tenant (at most 100 characters, letters, digits, `-_.`)."""
    return bounded(tenant, 100)


def resource_name(tenant: str, logical_name: str) -> str:
    """Return the `Name` tag of a resource; unique in the tenant, so that recovery can find it (256 characters)."""
    return bounded(f"{tenant}-{logical_name}", 256)


def security_group_name(tenant: str, role: str) -> str:
    """Return a security group's GroupName: at most 255 characters, and AWS refuses a leading `sg-`."""
    return bounded(f"{tenant}-sg-{role}", 255)


def log_group(tenant: str, what: str) -> str:
    """Return one of a tenant's CloudWatch log groups (512 characters)."""
    return bounded(f"/mutx/{tenant}/{what}", 512)


def flow_log_group(tenant: str) -> str:
    """Return the CloudWatch log group of a tenant's VPC flow logs."""
    return log_group(tenant, "vpc-flow-logs")


def flow_log_role(tenant: str) -> str:
    """Return the IAM role that VPC flow logs write with (64 characters)."""
    return bounded(f"mutx-{tenant}-flow-logs", 64)


def iam_path(tenant: str) -> str:
    """Return the IAM path of a tenant's roles, profiles and policies (512 characters); lists them by prefix."""
    return f"/mutx/{tenant}/"


def host_name(tenant: str, host: str) -> str:
    """Return a host's own name, and its name on the tailnet: one DNS label (63 characters)."""
    return bounded(f"{tenant}-{host}", 63)


def control_plane_certificate() -> str:
    """Return the DNS name in the control plane's client certificate, which each tenant's own authority signs.

    No host of a tenant has it: their names end with a number.
    """
    return "mutx-control-plane"


def host_identity(tenant: str, host: str) -> str:
    """Return the IAM role, and the instance profile, of one host (64 characters)."""
    return bounded(f"mutx-{tenant}-{host}", 64)


def boundary_name(tenant: str) -> str:
    """Return the managed policy that bounds every role of a tenant's stack (128 characters)."""
    return bounded(f"mutx-{tenant}-boundary", 128)


def launch_template_name(tenant: str, role: str) -> str:
    """Return a role's launch template (128 characters)."""
    return bounded(f"mutx-{tenant}-{role}", 128)


def key_alias(tenant: str, purpose: str) -> str:
    """Return a KMS key's alias (256 characters, letters, digits, `/_-`)."""
    return bounded(f"alias/mutx/{tenant}/{purpose}", 256)


def join_parameter(tenant: str, host: str) -> str:
    """Return the SSM parameter through which one host gets its join key (1011 characters)."""
    return f"{host_parameters(tenant)}{host}/join"


def host_parameters(tenant: str) -> str:
    """Return what the names of all SSM parameters of a tenant's hosts begin with.

    No shorter: `/mutx/images/` holds the baked images, and a tenant may be called `images`.
    """
    return f"/mutx/{tenant}/hosts/"


def join_unit(tenant: str, host: str) -> str:
    """Return the systemd unit that joins a host; its instance says which parameter is the host's."""
    return f"mutx-join@{tenant}:{host}.service"


def join_script(
    tenant: str, host: str, environment: Mapping[str, str] | None = None, units: Sequence[str] = ()
) -> str:
    """Return a host's user data: it starts `mutx-join` and holds no secret.

    Args:
        tenant: whose host it is.
        host: its key.
        environment: by what programs leave the host, put into `WAY_OUT_FILE`; none where they leave directly.
        units: further units that are started, then and at every boot.
    """
    lines = ["#!/bin/sh"]
    if environment:
        pairs = " ".join(f"'{name}={value}'" for name, value in environment.items())
        lines.append(f"printf '%s\\n' {pairs} >{WAY_OUT_FILE}")
    lines += [f"systemctl enable --now --no-block --quiet {unit}" for unit in units]
    return "\n".join([*lines, f"exec systemctl start --no-block '{join_unit(tenant, host)}'", ""])


def converge_principal(tenant: str) -> str:
    """Return what an SSH certificate must name to enter a tenant's hosts as the converge account."""
    return f"converge@{tenant}"


def is_ssh_principal(name: str) -> bool:
    """Say whether an operator's SSH certificate may name this: never root, nor what stands for several."""
    return name != "root" and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.@_-]{0,63}", name) is not None


def role_arn(account: str, role: str, region: str) -> str:
    """Return the ARN of a role without a path."""
    return f"arn:{partition(region)}:iam::{account}:role/{role}"


def project_of(tenant: str) -> str:
    """Return the Pulumi project that a stack belongs to."""
    return PLATFORM_PROJECT if tenant == _PLATFORM else PROJECT


def moving_stack(stack: str, url: str) -> str:
    """Return the name of a stack while its state is on the way to `url` (100 characters)."""
    return f"{bounded(stack, 80)}-moving-{sha256(url.encode()).hexdigest()[:_DIGEST_LENGTH]}"


def moved_stack(stack: str) -> str:
    """Return the name of what stays where a stack's state was (100 characters)."""
    return f"{bounded(stack, 80)}-moved"


def is_parked_stack(stack: str, name: str) -> bool:
    """Say whether a name is one that a stack has while it is moved, or that stays of it afterwards."""
    return name == moved_stack(stack) or name.startswith(moving_stack(stack, "")[:-_DIGEST_LENGTH])


def bucket_name(key: str, account: str, region: str) -> str:
    """Return one of the platform's buckets (63 characters, unique in the world by account and region)."""
    return bounded(f"mutx-{key}-{account}-{region}", 63)


def auditor_role(tenant: str) -> str:
    """Return the role that signs evidence (64 characters)."""
    return bounded(f"mutx-{tenant}-auditor", 64)


def tailnet_tag(role: str) -> str:
    """Return the tailnet tag that a platform host of a role joins with."""
    return f"tag:mutx-{role}"


INFRA_TAG = "tag:mutx-infra"
"""What the toolkit itself joins with; it hands out every other tag."""
CONVERGE_TAG = "tag:mutx-converge"
"""Where converge runs come from."""
OPERATORS_GROUP = "group:mutx-operators"


def tenant_tailnet_tag(tenant: str, role: str) -> str:
    """Return the tailnet tag that a tenant's host of a role joins with."""
    return f"tag:t-{tenant}-{role}"


def joining_tag(tenant: str, role: str) -> str:
    """Return the tailnet tag that a host of a role joins with, a tenant's or the platform's."""
    return tailnet_tag(role) if tenant == _PLATFORM else tenant_tailnet_tag(tenant, role)


def tailnet_group(tenant: str, people: str) -> str:
    """Return the tailnet group of a tenant's people: `admins` or `clients`."""
    return f"group:t-{tenant}-{people}"


def leave_posture(tenant: str) -> str:
    """Return the posture of devices whose person has leave to enter a tenant's hosts, or the platform's."""
    return f"posture:mutx-leave-{tenant}"


def leave_attribute(tenant: str) -> str:
    """Return the attribute that such a device has (50 characters with its prefix, letters, digits and `_`)."""
    return f"custom:mutx_{bounded(tenant, 38).replace('-', '_')}"


def partition(region: str) -> str:
    """Return the ARN partition of a region."""
    return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rsplit("-", 2)[0], "aws")


def tags_for(tenant: str, logical_name: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of one resource: the tenant's own, then ours, which win.

    `mutx:tenant` is the tenant's id; `Name` is the id and the logical name.
    """
    return {
        **extra,
        TENANT_TAG: tenant,
        NAME_TAG: resource_name(tenant, logical_name),
        "mutx:managed-by": "mutx-infra",
    }
