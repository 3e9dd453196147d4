"""Credentials that have expired: said with what to do, before anything is registered or made."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.support.accounts import ROLE, TENANT_ACCOUNT
from tests.support.checkout import Checkout
from tests.support.tenants import resources_of


@pytest.fixture
def expire(checkout: Checkout) -> Iterator[Callable[..., None]]:
    """Has AWS take the credentials for expired in named actions; they are good again afterwards."""
    url = f"{checkout.json('sandbox', 'status')['endpoints']['aws']}/mutx-api/expired"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def order(*actions: str) -> None:
        request = urllib.request.Request(  # noqa: S310 - on loopback
            url, data=json.dumps(actions).encode(), method="PUT"
        )
        with opener.open(request, timeout=10):
            pass

    yield order
    order()


@pytest.fixture
def pooled(checkout: Checkout) -> str:
    """The sandbox's profile with an account for tenants."""
    profile = yaml.safe_load((checkout.root / ".mutx/sandbox/environment.yaml").read_text(encoding="utf-8"))
    profile["aws"].update(tenant_role=ROLE, tenant_accounts=[TENANT_ACCOUNT])
    path = checkout.root / "environments" / "pooled.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(profile), encoding="utf-8")
    return "pooled"


@pytest.mark.parametrize(
    "actions",
    [("*",), ("sts:AssumeRole",), ("ec2:*",)],
    ids=["our own calls", "the role's assumption", "the calls after the first"],
)
@pytest.mark.parametrize("command", ["preview", "create"])
def test_expired_credentials_are_refused_before_anything_is_made(
    checkout: Checkout,
    tenant: str,
    pooled: str,
    expire: Callable[..., None],
    actions: tuple[str],
    command: str,
) -> None:
    checkout.write_spec(tenant, account=TENANT_ACCOUNT)
    expire(*actions)

    refused = checkout.run("tenant", command, tenant, "--environment", pooled, expect=4).stderr

    expire()
    assert "error[aws-credentials]" in refused
    assert "hint: sign in again, then run the same command" in refused
    assert tenant not in str(checkout.json("tenant", "list"))
    assert resources_of(checkout, tenant) == []
    assert not (checkout.root / "tenants" / f"{tenant}.lock.yaml").exists()
