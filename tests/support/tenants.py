"""What the tests of whole tenants share: create one, and look at what stands in the cloud."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from mutx_infra.naming import iam_path, log_group
from tests.support.checkout import Checkout

_LISTINGS = {
    "describe_vpcs": "Vpcs",
    "describe_subnets": "Subnets",
    "describe_route_tables": "RouteTables",
    "describe_network_acls": "NetworkAcls",
    "describe_security_groups": "SecurityGroups",
    "describe_security_group_rules": "SecurityGroupRules",
    "describe_internet_gateways": "InternetGateways",
    "describe_nat_gateways": "NatGateways",
    "describe_vpc_endpoints": "VpcEndpoints",
    "describe_addresses": "Addresses",
    "describe_flow_logs": "FlowLogs",
    "describe_network_interfaces": "NetworkInterfaces",
    "describe_launch_templates": "LaunchTemplates",
}
_IDENTITIES = (
    ("list_roles", "Roles", "RoleName"),
    ("list_policies", "Policies", "PolicyName"),
    ("list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
)
_GONE = {"deleted", "deleting"}


def create(checkout: Checkout, tenant: str, *options: str) -> Any:
    """Create a tenant from its spec and return what the command printed."""
    return checkout.json("tenant", "create", "-f", f"tenants/{tenant}.yaml", *options)


def resources_of(checkout: Checkout, tenant: str) -> list[str]:
    """Everything that carries a tenant's tag or name, by `Name`, in every service that the stacks use."""
    ec2, logs, iam = checkout.aws("ec2"), checkout.aws("logs"), checkout.aws("iam")
    items = [
        item
        for operation, key in _LISTINGS.items()
        for item in getattr(ec2, operation)()[key]
        if str(item.get("State", "")) not in _GONE
    ]
    items += [
        instance
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] not in {"terminated", "shutting-down"}
    ]
    # A root volume has its template's tags and goes with its instance.
    items += [v for v in ec2.describe_volumes()["Volumes"] if "data-" in str(names_of([v], tenant))]
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    below = [
        f"{key} {found['Path']}{found[name]}"
        for operation, key, name in _IDENTITIES
        for found in getattr(iam, operation)(**({"Scope": "Local"} if key == "Policies" else {}))[key]
        if found["Path"] == iam_path(tenant)
    ]
    return [
        *names_of(items, tenant),
        *(group for group in groups if group.startswith(log_group(tenant, ""))),
        *below,
        *(f"key {purpose}" for purpose, state in keys_of(checkout, tenant) if state != "PendingDeletion"),
    ]


def keys_of(checkout: Checkout, tenant: str) -> list[tuple[str, str]]:
    """The purpose and state of every KMS key that carries a tenant's tag."""
    kms = checkout.aws("kms")
    found = []
    for page in kms.get_paginator("list_keys").paginate():
        for entry in page["Keys"]:
            tags = {
                tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=entry["KeyId"])["Tags"]
            }
            if tags.get("mutx:tenant") == tenant:
                state = kms.describe_key(KeyId=entry["KeyId"])["KeyMetadata"]["KeyState"]
                found.append((tags["mutx:purpose"], state))
    return sorted(found)


def names_of(items: list[dict[str, Any]], tenant: str) -> list[str]:
    """The `Name` tags of a tenant's items."""
    tags = [
        {tag["Key"]: tag["Value"] for tag in item.get("Tags") or item.get("TagSet") or []} for item in items
    ]
    return [found["Name"] for found in tags if found.get("mutx:tenant") == tenant]


def assert_each_exists_once(checkout: Checkout, tenant: str) -> None:
    """No resource of a tenant exists twice, each carries its tags, and AWS's own default rules are gone."""
    names = resources_of(checkout, tenant)
    assert len(names) > 50
    assert [name for name, number in Counter(names).items() if number > 1] == []


def recorded(checkout: Checkout, tenant: str) -> int:
    """How many resources the engine's state holds now."""
    for state in (checkout.root / ".mutx/sandbox/pulumi").rglob(f"stacks/*/{tenant}.json"):
        with suppress(OSError, ValueError):
            # A stack that was only initialised has no `latest` yet.
            latest = json.loads(state.read_text())["checkpoint"].get("latest") or {}
            return len(latest.get("resources") or [])
    return 0


def await_recorded(checkout: Checkout, tenant: str, process: subprocess.Popen[bytes], wanted: range) -> None:
    """Wait for a moment of a run that no load on the machine moves: so many resources are recorded, or it ended."""
    deadline = time.monotonic() + 100
    while process.poll() is None and recorded(checkout, tenant) not in wanted:
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.02)


def engines_of(checkout: Checkout, tenant: str) -> list[int]:
    """Processes whose current directory is the tenant's work directory, or lies in it as an analyzer's does."""
    work_dir = str(checkout.root / ".mutx/stacks/sandbox" / tenant)
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if (process / "cwd").readlink().is_relative_to(work_dir):
                    found.append(int(process.name))
    return found


def kill(pid: int) -> None:
    """`kill -9`; a process that has ended meanwhile is no error."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def ended(checkout: Checkout, tenant: str, within_s: float) -> bool:
    """Wait until no engine works on the tenant any more."""
    deadline = time.monotonic() + within_s
    while engines_of(checkout, tenant):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
