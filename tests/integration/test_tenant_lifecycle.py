"""A tenant's network by the real engine: made, converged, repaired, destroyed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import Checkout
from tests.support.tenants import assert_each_exists_once, create, names_of, resources_of


@pytest.fixture(scope="module")
def acme(checkout: Checkout) -> Any:
    """What the create of a tenant said that several tests share; each leaves it as planned."""
    checkout.write_spec("acme")
    return create(checkout, "acme")


def test_second_create_changes_nothing(checkout: Checkout, acme: Any) -> None:
    second = create(checkout, "acme")

    assert len(acme["changes"]["resources"]) > 100
    assert second["changes"]["resources"] == []
    assert second["outputs"] == acme["outputs"]
    assert_each_exists_once(checkout, "acme")


@pytest.mark.usefixtures("acme")
def test_a_rule_removed_behind_its_back_is_named_and_repaired(checkout: Checkout) -> None:
    ec2 = checkout.aws("ec2")
    wanted = "acme-sg-database-from-agent-tcp-5432"
    rules = ec2.describe_security_group_rules()["SecurityGroupRules"]
    rule = next(rule for rule in rules if names_of([rule], "acme") == [wanted])
    ec2.revoke_security_group_ingress(
        GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]]
    )

    seen = checkout.json("tenant", "preview", "-f", "tenants/acme.yaml", expect=10)
    repaired = create(checkout, "acme")

    assert [change["name"] for change in seen["changes"]["resources"]] == [wanted]
    assert [change["name"] for change in repaired["changes"]["resources"]] == [wanted]


def test_a_rule_added_behind_its_back_fails_the_verification(checkout: Checkout, acme: Any) -> None:
    ec2, group = checkout.aws("ec2"), acme["outputs"]["security_group_ids"]["database"]
    open_to_all = [
        {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=open_to_all)

    refused = checkout.run("tenant", "create", "-f", "tenants/acme.yaml", expect=6)

    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=open_to_all)
    assert "NET-2: unexpected: sg-database: ingress tcp 5432-5432 from 0.0.0.0/0" in refused.stderr
    assert "hint:" in refused.stderr


def test_destroy_leaves_nothing_and_frees_the_block(checkout: Checkout, tenant: str) -> None:
    made = create(checkout, tenant)

    assert len(resources_of(checkout, tenant)) > 50
    checkout.run("tenant", "destroy", tenant, "--yes")

    assert resources_of(checkout, tenant) == []
    assert tenant not in [found["tenant"] for found in checkout.json("tenant", "list")["tenants"]]
    assert checkout.json("tenant", "status", tenant)["state"] == "destroyed"
    again = checkout.json("tenant", "preview", "-f", f"tenants/{tenant}.yaml", expect=10)
    assert again["plan"]["block"] == made["allocation"]["block"]


def test_preview_of_a_new_tenant_leaves_no_trace(checkout: Checkout, tenant: str) -> None:
    before = sorted(str(path) for path in checkout.root.rglob("*") if "registry" not in path.name)

    checkout.run("tenant", "preview", "-f", f"tenants/{tenant}.yaml", expect=10)

    after = sorted(str(path) for path in checkout.root.rglob("*") if "registry" not in path.name)
    assert [path for path in after if path not in before] == []
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


@pytest.mark.usefixtures("acme")
def test_a_field_that_contradicts_the_allocation_is_named_with_its_line(checkout: Checkout) -> None:
    checkout.write_spec("acme", region="us-east-1")

    for command in (["create"], ["create", "--dry-run"], ["preview"]):
        refused = checkout.run("tenant", *command, "-f", "tenants/acme.yaml", expect=3)
        assert "tenants/acme.yaml, line " in refused.stderr

    checkout.write_spec("acme")


def test_no_secret_of_the_sandbox_reaches_state_logs_or_output(checkout: Checkout, tenant: str) -> None:
    passphrase = (checkout.root / ".mutx/sandbox/passphrase").read_text(encoding="utf-8").strip()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(checkout.run, "tenant", "create", "-f", f"tenants/{tenant}.yaml", "--verbose")
        commands = set[bytes]()
        while not running.done():
            commands |= set(command_lines())
    done = running.result()

    holders = [
        str(path)
        for path in (checkout.root / ".mutx").rglob("*")
        if path.is_file() and path.name != "passphrase" and passphrase.encode() in path.read_bytes()
    ]

    assert holders == []
    assert passphrase not in done.stdout + done.stderr
    assert any(b"pulumi" in command for command in commands)
    assert not [command for command in commands if passphrase.encode() in command]


def command_lines() -> Iterator[bytes]:
    """What `ps` shows of every process."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield (process / "cmdline").read_bytes()


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


def test_credentials_of_another_account_are_refused_before_anything_is_made(
    checkout: Checkout, tenant: str
) -> None:
    environment = checkout.json("sandbox", "status")["environment"]
    other = checkout.root / "other.yaml"
    other.write_text(
        Path(environment).read_text(encoding="utf-8").replace("123456789012", "999999999999"),
        encoding="utf-8",
    )

    for command in ("preview", "create"):
        refused = checkout.run("tenant", command, tenant, "-e", str(other), expect=4)
        assert "error[account-mismatch]: the credentials belong to account 123456789012" in refused.stderr

    assert resources_of(checkout, tenant) == []


LONGEST = "a" + "-b2" * 20 + "xy"
"""63 characters, the limit; with another last character the second one's names are the same up to their digest."""


@pytest.mark.full
def test_names_of_any_length_and_script_do_not_meet(checkout: Checkout) -> None:
    twins = [LONGEST, f"{LONGEST[:-1]}z"]
    for name in twins:
        checkout.write_spec(
            name, name="日本語 Ω «Acme» 🦊" + "é" * 100, tags={"Schlüssel/ключ": "Größe" * 40}
        )

    for name in twins:
        assert create(checkout, name)["state"] == "ready"

    for name in twins:
        assert_each_exists_once(checkout, name)
    checkout.run("tenant", "destroy", twins[0], "--yes")
    assert resources_of(checkout, twins[0]) == []
    assert_each_exists_once(checkout, twins[1])
    assert create(checkout, twins[1])["changes"]["resources"] == []


@pytest.mark.parametrize(
    ("fields", "code", "line"),
    [
        ({"region": "xx-west-9"}, "region-unknown", ""),
        ({"zones": ["eu-west-1z"]}, "spec-zones-unknown", "line 1"),
    ],
    ids=["region", "zone"],
)
def test_what_aws_does_not_have_is_refused_before_anything_is_made(
    checkout: Checkout, tenant: str, fields: dict[str, object], code: str, line: str
) -> None:
    checkout.write_spec(tenant, **fields)

    for command in ("preview", "create"):
        refused = checkout.run("tenant", command, tenant, expect=3)
        assert f"error[{code}]" in refused.stderr
        assert line in refused.stderr

    assert tenant not in str(checkout.json("tenant", "list"))
