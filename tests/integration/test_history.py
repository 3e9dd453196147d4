"""The history in a locked bucket: written by the CLI, read back whole, and not to be got rid of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.checkout import Checkout, make_checkout
from tests.support.tenants import create

BUCKET = "mutx-history-sandbox"


def change(checkout: Checkout, tenant: str) -> str:
    """Make a tenant, then give it a tag."""
    checkout.write_spec(tenant)
    create(checkout, tenant)
    checkout.write_spec(tenant, tags={"team": "blue"})
    create(checkout, tenant)
    return tenant


@pytest.fixture(scope="module")
def changed(checkout: Checkout) -> str:
    """A tenant with two entries, for the tests that only look."""
    return change(checkout, "acme")


def objects_of(s3: Any, tenant: str) -> list[dict[str, Any]]:
    return list(s3.list_object_versions(Bucket=BUCKET, Prefix=f"{tenant}/")["Versions"])


def test_every_update_is_listed_with_who_when_and_what(checkout: Checkout, changed: str) -> None:
    create(checkout, changed)

    seen = checkout.json("tenant", "history", changed)
    made = checkout.json("history", "show", changed, "1")["changes"]["changes"]
    shown = checkout.json("history", "show", changed, "2")

    assert [(e["sequence"], e["kind"], e["outcome"]) for e in seen["entries"]] == [
        (1, "create", "done"),
        (2, "create", "done"),
    ]
    assert seen["retention_days"] >= 7 * 365
    assert shown["spec"]["tags"] == {"team": "blue"}
    assert shown["plan"]["tags"] == {"team": "blue"}
    assert "@" in shown["by"]
    assert {change["operation"] for change in shown["changes"]["changes"]} == {"update"}, (
        "a tag replaced a host"
    )
    table = checkout.run("history", "list", changed).stdout
    assert f"{len(made)} created" in table


def test_two_updates_can_be_compared(checkout: Checkout, changed: str) -> None:
    seen = checkout.json("history", "diff", changed, "1", "2")

    assert seen["differences"] == [
        {"path": "plan.tags.team", "from": "", "to": "blue"},
        {"path": "spec.tags.team", "from": "", "to": "blue"},
    ]


def test_a_rollback_brings_the_spec_back_and_the_history_outlives_the_tenant(
    checkout: Checkout, tenant: str
) -> None:
    changed = change(checkout, tenant)
    refused = checkout.run("tenant", "rollback", changed, "--to", "1", expect=4)
    back = checkout.json("tenant", "rollback", changed, "--to", "1", "--yes")
    again = create(checkout, changed)

    assert "error[not-confirmed]" in refused.stderr
    assert "tags" not in back["spec"] or back["spec"]["tags"] == {}
    assert len(back["changes"]["resources"]) > 50
    assert again["changes"]["resources"] == []
    checkout.run("tenant", "destroy", changed, "--yes")
    kinds = [entry["kind"] for entry in checkout.json("tenant", "history", changed)["entries"]]
    assert kinds == ["create", "create", "rollback", "destroy"]
    text = (checkout.root / "tenants" / f"{changed}.yaml").read_text(encoding="utf-8")
    assert "blue" not in text


def test_no_version_of_the_history_can_be_deleted(checkout: Checkout, changed: str) -> None:
    s3 = checkout.aws("s3")

    for version in objects_of(s3, changed):
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.delete_object(
                Bucket=BUCKET,
                Key=version["Key"],
                VersionId=version["VersionId"],
                BypassGovernanceRetention=True,
            )
    assert checkout.json("history", "verify", changed)["entries"] == 2


def test_an_entry_that_was_covered_or_marked_deleted_is_detected(checkout: Checkout, tenant: str) -> None:
    s3 = checkout.aws("s3")
    create(checkout, tenant)
    (entry,) = [v["Key"] for v in objects_of(s3, tenant) if "/entries/" in v["Key"]]
    original = s3.get_object(Bucket=BUCKET, Key=entry)["Body"].read()
    forged = json.dumps({**json.loads(original), "by": "nobody"}).encode()

    s3.put_object(Bucket=BUCKET, Key=entry, Body=forged)
    covered = checkout.run("history", "verify", tenant, expect=6).stderr
    s3.put_object(Bucket=BUCKET, Key=entry, Body=original)
    s3.delete_object(Bucket=BUCKET, Key=entry)
    hidden = checkout.run("tenant", "history", tenant, expect=6).stderr

    assert "error[history-broken]" in covered
    assert "entry 1 was changed" in covered
    assert "entries 1 to 1 are missing" in hidden


def test_what_the_history_keeps_holds_no_secret(checkout: Checkout, changed: str) -> None:
    import gzip  # noqa: PLC0415

    passphrase = (checkout.root / ".mutx/sandbox/passphrase").read_bytes().strip()
    s3 = checkout.aws("s3")
    bodies = [s3.get_object(Bucket=BUCKET, Key=v["Key"])["Body"].read() for v in objects_of(s3, changed)]
    plain = [gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body for body in bodies]

    assert any(b"urn:pulumi" in body for body in plain)
    assert not any(passphrase in body or b"aws_secret_access_key" in body for body in plain)


def test_a_bucket_without_a_lock_is_refused_before_anything_is_made(checkout: Checkout, tenant: str) -> None:
    profile = (checkout.root / ".mutx/sandbox/environment.yaml").read_text(encoding="utf-8")
    checkout.aws("s3").create_bucket(
        Bucket="mutx-unlocked", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    other = checkout.root / "environments" / "unlocked.yaml"
    other.parent.mkdir(exist_ok=True)
    other.write_text(profile.replace(BUCKET, "mutx-unlocked"), encoding="utf-8")

    refused = checkout.run("tenant", "create", tenant, "--environment", "unlocked", expect=4).stderr

    assert "error[history-retention]" in refused
    assert checkout.json("tenant", "preview", tenant, expect=10)["changes"]["unchanged"] == 0
    shutil.rmtree(other.parent)


def test_what_was_never_written_down_is_said(checkout: Checkout, changed: str) -> None:
    nobody = checkout.run("history", "list", "nobody", expect=4).stderr
    beyond = checkout.run("history", "show", changed, "99", expect=4).stderr

    assert "error[history-unknown]: nothing was written down about nobody" in nobody
    assert "entries are 1 to 2" in beyond


def test_a_reset_of_the_sandbox_leaves_a_bucket_that_keeps(tmp_path: Path) -> None:
    own = make_checkout(tmp_path / "own")
    own.run("sandbox", "up")

    own.run("sandbox", "reset")

    seen = own.json("history", "verify", "acme")
    assert (seen["entries"], seen["retention_days"]) == (0, 2557)
    own.run("sandbox", "down")
