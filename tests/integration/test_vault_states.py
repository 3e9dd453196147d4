"""A tenant that brings its own, by the commands of an operator, where no host can be reached: states and refusals."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mutx_infra.adapters.sql_registry import SqlRegistry
from mutx_infra.bootstrap import Process
from mutx_infra.bootstrap_vault_check import volumes_of
from mutx_infra.records import TenantState
from tests.support.authorities import Authority, make_authority
from tests.support.byok import CLUSTER, a_byok, a_receipt, a_vault
from tests.support.checkout import Checkout
from tests.support.registry import HandClock
from tests.support.tenants import create

pytestmark = pytest.mark.story


@pytest.fixture(scope="module")
def tenant_ca() -> Authority:
    return make_authority("initech administrators")


@pytest.fixture(scope="module")
def initech(checkout: Checkout, tenant_ca: Authority) -> Any:
    """A tenant whose network stands, and whose Vault nobody could bring up."""
    checkout.write_spec("initech", byok=a_byok(tenant_ca))
    return create(checkout, "initech")


def registry_of(checkout: Checkout) -> SqlRegistry:
    return SqlRegistry(f"sqlite:///{checkout.root}/.mutx/sandbox/registry.db", HandClock(datetime.now(UTC)))


def test_its_network_stands_and_its_vault_is_still_to_come(checkout: Checkout, initech: Any) -> None:
    shown = checkout.run("tenant", "show", "initech").stdout

    assert (initech["state"], initech["vault"], initech["vault_handover"]) == ("ready", None, None)
    assert "not made yet" in shown


@pytest.mark.usefixtures("initech")
def test_the_volumes_under_its_vault_are_looked_at_in_the_cloud(checkout: Checkout) -> None:
    ec2 = checkout.aws("ec2")
    operator = Process({}, checkout.root)

    whole = volumes_of(operator, "initech", None)
    volume = next(v for v in ec2.describe_volumes()["Volumes"] if _name(v) == "initech-data-vault-1")
    place = {
        "VolumeId": volume["VolumeId"],
        **{k: volume["Attachments"][0][k] for k in ("InstanceId", "Device")},
    }
    ec2.detach_volume(**place)
    taken_away = volumes_of(operator, "initech", None)
    ec2.attach_volume(**place)
    unknown = volumes_of(operator, "umbrella", None)
    elsewhere = volumes_of(Process({}, checkout.root.parent), "initech", None)

    assert whole.is_met is True
    assert whole.seen == "volume data-vault-1, 10 GiB, key-vault, at vault-1"
    assert taken_away.is_met is False
    assert [seen.is_met for seen in (unknown, elsewhere)] == [None, None]
    assert "knows no umbrella" in unknown.reason
    assert "`--environment`" in elsewhere.reason


def _name(volume: dict[str, Any]) -> str:
    return next((tag["Value"] for tag in volume.get("Tags", []) if tag["Key"] == "Name"), "")


@pytest.mark.usefixtures("initech")
def test_nothing_that_was_never_handed_over_is_claimed(
    checkout: Checkout, tenant_ca: Authority, tmp_path: Path
) -> None:
    claim = tmp_path / "claim.json"
    claim.write_text(a_receipt(tenant_ca, tmp_path, "vault-claim", "initech"))

    refused = checkout.run("vault", "handed-over", "initech", "-f", str(claim), expect=4)

    assert "error[vault-not-handed-over]" in refused.stderr


def test_a_tenant_that_brings_nothing_has_no_vault_to_bring_up(checkout: Checkout, tenant: str) -> None:
    made = checkout.run("tenant", "create", "-f", f"tenants/{tenant}.yaml")

    refused = checkout.run("vault", "init", tenant, expect=4)

    assert f"{tenant} has no Vault and can keep no key" in made.stderr
    assert "error[byok-missing]" in refused.stderr


def test_a_person_s_certificate_is_no_authority_and_nothing_is_made(
    checkout: Checkout, tenant_ca: Authority, tmp_path: Path
) -> None:
    person = tenant_ca.client(tmp_path, "ann").certificate.read_text()
    checkout.write_spec("umbrella", byok={"admin_ca": person, "seal": {"type": "static"}})

    refused = checkout.run("tenant", "create", "-f", "tenants/umbrella.yaml", expect=3)

    assert "error[byok-not-an-authority]" in refused.stderr
    assert "tenants/umbrella.yaml, line 1" in refused.stderr
    assert "umbrella" not in [found["tenant"] for found in checkout.json("tenant", "list")["tenants"]]


@pytest.mark.usefixtures("initech")
def test_from_awaited_to_claimed_to_shredded(
    checkout: Checkout, tenant_ca: Authority, tmp_path: Path
) -> None:
    claim, shred = tmp_path / "claim.json", tmp_path / "shred.json"
    claim.write_text(a_receipt(tenant_ca, tmp_path, "vault-claim", "initech"))
    shred.write_text(a_receipt(tenant_ca, tmp_path, "vault-shred", "initech"))
    registry_of(checkout).update("initech", state=TenantState.AWAITING_CLAIM, vault=a_vault(cluster=CLUSTER))

    awaited = create(checkout, "initech")
    claimed = checkout.json("vault", "handed-over", "initech", "-f", str(claim))
    status = checkout.json("tenant", "status", "initech")
    again = create(checkout, "initech")
    # A sandbox with hosts has one; it is read before anything is asked of a host.
    (checkout.root / ".mutx/sandbox/ssh_authority.pub").write_text("ssh-ed25519 AAAA")
    hosts = checkout.run("hosts", "harden", "initech", expect=4)
    kept = checkout.run("tenant", "destroy", "initech", "--yes", expect=4)
    checkout.run("tenant", "destroy", "initech", "--yes", "--shred-receipt", str(shred))

    assert awaited["state"] == "awaiting-claim"
    assert (claimed["state"], bool(claimed["handed_over_at"])) == ("ready", True)
    assert status["handed_over_at"] == claimed["handed_over_at"]
    assert (again["state"], again["changes"]["resources"]) == ("ready", [])
    assert "error[hosts-handed-over]" in hosts.stderr
    assert "error[shred-receipt-missing]" in kept.stderr
    history = checkout.json("history", "list", "initech")["entries"]
    assert [entry["kind"] for entry in history] == ["create", "vault", "destroy"]
    assert (checkout.root / ".mutx/vault/sandbox/initech/shred-receipt.json").is_file()
