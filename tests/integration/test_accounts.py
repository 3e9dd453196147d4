"""Tenants in accounts of their own, entered by a role with an external id; nothing is made where that fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.accounts import ARCHIVE_ACCOUNT, ROLE, TENANT_ACCOUNT
from tests.support.checkout import Checkout

OTHER_ACCOUNT = ARCHIVE_ACCOUNT


def profile(checkout: Checkout, name: str, **aws: Any) -> str:
    """Write the sandbox's profile with other accounts for tenants, and return its name."""
    return checkout.profile(name, aws={"archive_account": None, **aws})


def vpcs_in(checkout: Checkout, account: str) -> list[str]:
    """The tenants that have a VPC in an account, seen through the role."""
    vpcs = checkout.aws("ec2", account=account).describe_vpcs()["Vpcs"]
    tags = [tag for vpc in vpcs for tag in vpc.get("Tags") or []]
    return sorted(tag["Value"] for tag in tags if tag["Key"] == "mutx:tenant")


def test_a_tenant_lives_in_the_account_that_its_spec_names(checkout: Checkout, tenant: str) -> None:
    environment = profile(checkout, "pool", tenant_role=ROLE, tenant_accounts=[TENANT_ACCOUNT])
    checkout.write_spec(tenant, account=TENANT_ACCOUNT)

    made = checkout.json("tenant", "create", tenant, "--environment", environment)
    again = checkout.json("tenant", "create", tenant, "--environment", environment)
    there, here = vpcs_in(checkout, TENANT_ACCOUNT), checkout.aws("ec2").describe_vpcs()["Vpcs"]
    destroyed = checkout.json("tenant", "destroy", tenant, "--environment", environment, "--yes")

    assert made["allocation"]["account"] == made["outputs"]["account"] == TENANT_ACCOUNT
    assert again["changes"]["resources"] == []
    assert there == [tenant]
    assert tenant not in str(here)
    assert vpcs_in(checkout, TENANT_ACCOUNT) == []
    assert [one["kind"] for one in destroyed["tombstones"]].count("KMS key") == 5
    assert {one["account"] for one in destroyed["logs"]} == {TENANT_ACCOUNT}


@pytest.mark.full
def test_a_pool_gives_each_new_tenant_the_account_with_the_fewest(checkout: Checkout) -> None:
    pool = [TENANT_ACCOUNT, OTHER_ACCOUNT]
    environment = profile(checkout, "pool", tenant_role=ROLE, tenant_accounts=pool)
    for name in ("pooled-1", "pooled-2"):
        checkout.write_spec(name)
    before = checkout.json("tenant", "preview", "pooled-2", "--environment", environment, expect=10)

    made = checkout.json("tenant", "create", "pooled-1", "--environment", environment)
    after = checkout.json("tenant", "preview", "pooled-2", "--environment", environment, expect=10)

    checkout.run("tenant", "destroy", "pooled-1", "--environment", environment, "--yes")
    assert made["allocation"]["account"] == before["plan"]["account"] == TENANT_ACCOUNT
    assert after["plan"]["account"] == OTHER_ACCOUNT


@pytest.mark.parametrize(
    "role",
    [{**ROLE, "external_id": "somebody-else"}, {**ROLE, "name": "no-such-role"}],
    ids=["other external id", "no such role"],
)
def test_an_account_that_cannot_be_entered_is_refused_before_anything_is_made(
    checkout: Checkout, tenant: str, role: dict[str, str]
) -> None:
    environment = profile(checkout, "refused", tenant_role=role, tenant_accounts=[TENANT_ACCOUNT])

    refused = checkout.run("tenant", "create", tenant, "--environment", environment, expect=4).stderr

    assert "error[role-denied]" in refused
    assert "aws.tenant_role" in refused
    assert tenant not in str(checkout.json("tenant", "list"))


def test_an_account_outside_the_pool_is_refused(checkout: Checkout, tenant: str) -> None:
    environment = profile(checkout, "pool", tenant_role=ROLE, tenant_accounts=[TENANT_ACCOUNT])
    checkout.write_spec(tenant, account=OTHER_ACCOUNT)

    refused = checkout.run("tenant", "create", tenant, "--environment", environment, expect=4).stderr

    assert f"error[account-mismatch]: account {OTHER_ACCOUNT} is not one of environment sandbox" in refused
