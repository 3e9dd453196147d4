"""A tenant's network by the real engine: made, converged, repaired, crashed, destroyed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import Checkout, names_of

_numbers = count()
_COUNTED = {
    "describe_vpcs": "Vpcs",
    "describe_subnets": "Subnets",
    "describe_route_tables": "RouteTables",
    "describe_network_acls": "NetworkAcls",
    "describe_security_groups": "SecurityGroups",
    "describe_security_group_rules": "SecurityGroupRules",
    "describe_internet_gateways": "InternetGateways",
    "describe_addresses": "Addresses",
    "describe_flow_logs": "FlowLogs",
}


@pytest.fixture
def tenant(checkout: Checkout) -> Any:
    name = f"tenant-{next(_numbers)}"
    checkout.write_spec(name)
    yield name
    checkout.run("tenant", "destroy", name, "--yes", expect=None)


def create(checkout: Checkout, tenant: str, *options: str) -> Any:
    return checkout.json("tenant", "create", "-f", f"tenants/{tenant}.yaml", *options)


def test_second_create_changes_nothing(checkout: Checkout, tenant: str) -> None:
    first = create(checkout, tenant)

    second = create(checkout, tenant)

    assert len(first["changes"]["resources"]) > 100
    assert second["changes"]["resources"] == []
    assert second["outputs"] == first["outputs"]
    assert_each_exists_once(checkout, tenant)


def assert_each_exists_once(checkout: Checkout, tenant: str) -> None:
    """No resource of a tenant exists twice, and each carries its tags."""
    ec2 = checkout.aws("ec2")
    names = [name for op, key in _COUNTED.items() for name in names_of(getattr(ec2, op)()[key], tenant)]
    assert len(names) > 50
    assert max(Counter(names).values()) == 1
    assert all(name.startswith(f"{tenant}-") for name in names)


def test_a_rule_removed_behind_its_back_is_named_and_repaired(checkout: Checkout, tenant: str) -> None:
    create(checkout, tenant)
    ec2 = checkout.aws("ec2")
    wanted = f"{tenant}-sg-database-from-agent-tcp-5432"
    rules = ec2.describe_security_group_rules()["SecurityGroupRules"]
    rule = next(rule for rule in rules if names_of([rule], tenant) == [wanted])
    ec2.revoke_security_group_ingress(
        GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]]
    )

    seen = checkout.json("tenant", "preview", "-f", f"tenants/{tenant}.yaml", expect=10)
    repaired = create(checkout, tenant)

    assert [change["name"] for change in seen["changes"]["resources"]] == [wanted]
    assert [change["name"] for change in repaired["changes"]["resources"]] == [wanted]


def test_a_rule_added_behind_its_back_fails_the_verification(checkout: Checkout, tenant: str) -> None:
    made = create(checkout, tenant)
    group = made["outputs"]["security_group_ids"]["database"]
    open_to_all = [
        {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ]
    checkout.aws("ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=open_to_all)

    refused = checkout.run("tenant", "create", "-f", f"tenants/{tenant}.yaml", expect=6)

    assert "NET-2: unexpected: sg-database: ingress tcp 5432-5432 from 0.0.0.0/0" in refused.stderr
    assert "hint:" in refused.stderr


def test_destroy_leaves_nothing_and_frees_the_block(checkout: Checkout, tenant: str) -> None:
    made = create(checkout, tenant)

    checkout.run("tenant", "destroy", tenant, "--yes")

    ec2 = checkout.aws("ec2")
    left = [name for op, key in _COUNTED.items() for name in names_of(getattr(ec2, op)()[key], tenant)]
    assert left == []
    assert tenant not in [found["tenant"] for found in checkout.json("tenant", "list")["tenants"]]
    assert checkout.json("tenant", "status", tenant)["state"] == "destroyed"
    again = checkout.json("tenant", "preview", "-f", f"tenants/{tenant}.yaml", expect=10)
    assert again["plan"]["block"] == made["allocation"]["block"]


def test_preview_of_a_new_tenant_leaves_no_trace(checkout: Checkout, tenant: str) -> None:
    before = sorted(str(path) for path in checkout.root.rglob("*") if "registry" not in path.name)

    checkout.run("tenant", "preview", "-f", f"tenants/{tenant}.yaml", expect=10)

    after = sorted(str(path) for path in checkout.root.rglob("*") if "registry" not in path.name)
    created = [path for path in after if path not in before and "/stacks/" not in path]
    assert created == []
    assert checkout.json("tenant", "list")["tenants"] == [] or tenant not in str(
        checkout.json("tenant", "list")
    )


def test_another_plan_than_the_previewed_one_is_refused_before_anything_is_made(
    checkout: Checkout, tenant: str
) -> None:
    seen = checkout.json("tenant", "preview", "-f", f"tenants/{tenant}.yaml", expect=10)
    checkout.write_spec(tenant, tags={"cost-center": "4711"})

    refused = checkout.run(
        "tenant", "create", "-f", f"tenants/{tenant}.yaml", "--plan", seen["digest"], expect=4
    )

    assert "error[plan-changed]" in refused.stderr
    assert tenant not in str(checkout.json("tenant", "list"))


@pytest.mark.parametrize("kill_engine", [False, True], ids=["cli", "cli-and-engine"])
@pytest.mark.parametrize(
    "share", [pytest.param(0.35, marks=pytest.mark.full), 0.6, pytest.param(0.85, marks=pytest.mark.full)]
)
def test_a_create_killed_halfway_is_finished_by_the_next(
    checkout: Checkout, tenant: str, share: float, kill_engine: bool
) -> None:
    process = checkout.start("tenant", "create", "-f", f"tenants/{tenant}.yaml")
    time.sleep(5.0 * share * random.uniform(0.8, 1.2))
    engines = _engines_in(checkout, tenant) if kill_engine else []
    process.kill()
    for pid in engines:
        _kill(pid)
    process.wait()

    made = create(checkout, tenant)

    assert made["state"] == "ready"
    assert _engines_in(checkout, tenant) == []
    assert_each_exists_once(checkout, tenant)


def test_a_field_that_contradicts_the_allocation_is_named_with_its_line(
    checkout: Checkout, tenant: str
) -> None:
    create(checkout, tenant)
    checkout.write_spec(tenant, region="us-east-1")

    for command in (["create"], ["create", "--dry-run"], ["preview"]):
        refused = checkout.run("tenant", *command, "-f", f"tenants/{tenant}.yaml", expect=3)
        assert f"tenants/{tenant}.yaml, line " in refused.stderr


@pytest.mark.parametrize("part", ["state", "sidecar"])
def test_a_state_that_was_torn_is_mended_by_the_next_create(
    checkout: Checkout, tenant: str, part: str
) -> None:
    create(checkout, tenant)
    (state,) = (checkout.root / ".mutx").rglob(f"stacks/*/{tenant}.json")
    torn = state if part == "state" else state.with_name(f"{state.name}.attrs")
    torn.write_bytes(b"" if part == "sidecar" else state.read_bytes()[:100])

    assert create(checkout, tenant)["state"] == "ready"

    assert_each_exists_once(checkout, tenant)


def test_four_tenants_at_once_do_not_meet(checkout: Checkout) -> None:
    tenants = [f"crowd-{number}" for number in range(4)]
    for name in tenants:
        checkout.write_spec(name)

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda name: create(checkout, name), tenants))
        blocks = [ip_network(outcome["allocation"]["block"]) for outcome in made]
        list(pool.map(lambda name: checkout.run("tenant", "destroy", name, "--yes"), tenants))

    assert all(outcome["state"] == "ready" for outcome in made)
    assert not any(a.overlaps(b) for i, a in enumerate(blocks) for b in blocks[:i])


def test_no_secret_of_the_sandbox_reaches_state_logs_or_output(checkout: Checkout, tenant: str) -> None:
    done = checkout.run("tenant", "create", "-f", f"tenants/{tenant}.yaml", "--verbose")
    passphrase = (checkout.root / ".mutx/sandbox/passphrase").read_text(encoding="utf-8").strip()

    holders = [
        str(path)
        for path in (checkout.root / ".mutx").rglob("*")
        if path.is_file() and path.name != "passphrase" and passphrase.encode() in path.read_bytes()
    ]

    assert holders == []
    assert passphrase not in done.stdout + done.stderr


def test_stray_endpoint_and_provider_variables_change_nothing(checkout: Checkout, tenant: str) -> None:
    stray = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:9",
        "PULUMI_DEBUG_PROVIDERS": "aws:9",
        "PULUMI_BACKEND_URL": "file:///nonexistent",
        "AWS_REGION": "us-west-2",
        "AWS_PROFILE": "nobody",
    }

    Checkout(checkout.root, stray).run("tenant", "create", "-f", f"tenants/{tenant}.yaml")

    assert checkout.json("tenant", "show", tenant)["state"] == "ready"


def _engines_in(checkout: Checkout, tenant: str) -> list[int]:
    work_dir = str(checkout.root / ".mutx/stacks/sandbox" / tenant)
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if str((process / "cwd").readlink()) == work_dir:
                    found.append(int(process.name))
            except OSError:
                continue
    return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
