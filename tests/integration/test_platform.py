"""The platform's stack: made, verified and repaired like a tenant's, with what only it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mutx_infra.deploy_policy import STATE, deploy_grants, platform_archive_grants, platform_grants
from tests.support.checkout import Checkout, copy_platform, make_checkout
from tests.support.recording import Recording
from tests.support.tenants import create


@pytest.fixture(scope="module")
def platform(checkout: Checkout) -> Any:
    """The platform of the repository, made once for all tests; each leaves it as planned."""
    copy_platform(checkout)
    recording = Recording(checkout.endpoint)
    preview = checkout.json("platform", "preview", expect=10)
    made = checkout.json("platform", "create", "--plan", preview["digest"])
    return {**made, "preview": preview, "recorded": recording.actions()}


HOME, ARCHIVE_ACCOUNT = "123456789012", "310987654321"


def owner_of(key: str) -> str | None:
    """The account of a bucket where it is not the platform's own."""
    return ARCHIVE_ACCOUNT if key.startswith("archive-") else None


@pytest.fixture(scope="module")
def beside(checkout: Checkout, platform: Any) -> str:
    """A tenant beside the platform, in an environment whose history is the platform's bucket."""
    profile = (checkout.root / ".mutx/sandbox/environment.yaml").read_text(encoding="utf-8")
    url = checkout.json("platform", "show")["profile"]["history.url"]
    lines = [f"  url: {url}" if "mutx-history-sandbox" in line else line for line in profile.splitlines()]
    path = checkout.root / "environments" / "platform.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    checkout.write_spec("beside")
    create(checkout, "beside", "--environment", "platform")
    return "beside"


def bucket_of(platform: Any, key: str) -> str:
    return str(platform["outputs"]["buckets"][key])


def test_what_was_previewed_was_made_and_a_second_create_changes_nothing(
    checkout: Checkout, platform: Any
) -> None:
    again = checkout.json("platform", "create")
    shown = checkout.json("platform", "show")

    assert len(platform["changes"]["resources"]) == len(platform["preview"]["changes"]["resources"])
    assert again["changes"]["resources"] == []
    assert shown["profile"]["history.url"].startswith(f"s3://{bucket_of(platform, 'history')}?region=")
    assert {host["role"] for host in shown["outputs"]["hosts"].values()} == {
        "control-plane", "database", "mgmt", "vault",
    }  # fmt: skip
    assert shown["outputs"]["tailnet_tags"] == {"control-plane": "tag:mutx-control-plane"}
    assert "signing key" in checkout.run("platform", "show").stdout


def test_it_is_no_tenant(checkout: Checkout, platform: Any) -> None:
    assert "platform" not in [found["tenant"] for found in checkout.json("tenant", "list")["tenants"]]
    assert platform["allocation"]["block"] == "10.255.252.0/22"


@pytest.mark.parametrize(("key", "days"), [("history", 2557), ("archive-1y", 365), ("archive-7y", 2557)])
def test_what_must_be_kept_cannot_be_deleted(checkout: Checkout, platform: Any, key: str, days: int) -> None:
    s3, bucket = checkout.aws("s3", account=owner_of(key)), bucket_of(platform, key)
    lock = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]["Rule"]
    version = s3.put_object(Bucket=bucket, Key=f"{key}/kept", Body=b"x")["VersionId"]

    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=bucket, Key=f"{key}/kept", VersionId=version, BypassGovernanceRetention=True)

    assert (lock["DefaultRetention"]["Mode"], lock["DefaultRetention"]["Days"]) == ("COMPLIANCE", days)


def test_every_bucket_has_a_key_of_its_own_purpose(checkout: Checkout, platform: Any) -> None:
    arns = platform["outputs"]["key_arns"]
    purposes = {"state": "state", "history": "history", "archive-1y": "archive", "archive-7y": "archive"}

    for key, purpose in purposes.items():
        s3 = checkout.aws("s3", account=owner_of(key))
        rules = s3.get_bucket_encryption(Bucket=bucket_of(platform, key))["ServerSideEncryptionConfiguration"]
        assert rules["Rules"][0]["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == arns[purpose]


def test_the_auditor_can_sign_and_nothing_else(checkout: Checkout, platform: Any) -> None:
    iam, kms = checkout.aws("iam"), checkout.aws("kms")
    name = platform["outputs"]["auditor_role_arn"].rsplit("/", 1)[-1]
    policies = iam.list_role_policies(RoleName=name)["PolicyNames"]
    grants = iam.get_role_policy(RoleName=name, PolicyName=policies[0])["PolicyDocument"]["Statement"]
    signed = kms.sign(
        KeyId=platform["outputs"]["signing_key_arn"], Message=b"evidence", SigningAlgorithm="ECDSA_SHA_384"
    )

    assert len(policies) == len(grants) == 1
    assert sorted(grants[0]["Action"]) == ["kms:GetPublicKey", "kms:Sign"]
    assert grants[0]["Resource"] == [platform["outputs"]["signing_key_arn"]]
    assert signed["Signature"]


def test_a_bucket_that_somebody_opened_is_named_and_closed_again(checkout: Checkout, platform: Any) -> None:
    s3, bucket = checkout.aws("s3", account=ARCHIVE_ACCOUNT), bucket_of(platform, "archive-7y")
    s3.delete_public_access_block(Bucket=bucket)
    anyone = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [anyone]}))

    seen = checkout.json("platform", "preview", expect=10)
    repaired = checkout.json("platform", "create")

    wanted = ["platform-bucket-archive-7y-closed", "platform-bucket-archive-7y-policy"]
    assert sorted(change["name"] for change in seen["changes"]["resources"]) == wanted
    assert sorted(change["name"] for change in repaired["changes"]["resources"]) == wanted


def test_a_tenant_s_history_goes_into_the_platform_s_bucket(
    checkout: Checkout, platform: Any, beside: str
) -> None:
    seen = checkout.json("history", "verify", beside, "--environment", "platform")
    keys = checkout.aws("s3").list_objects_v2(Bucket=bucket_of(platform, "history"))["Contents"]

    assert (seen["entries"], seen["retention_days"]) == (1, 2557)
    assert f"{beside}/entries/00000001.json" in [entry["Key"] for entry in keys]


def test_what_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    own = make_checkout(tmp_path / "own")
    own.run("sandbox", "up")

    missing = own.run("platform", "show", expect=4).stderr
    nowhere = own.run("platform", "preview", expect=3).stderr
    own.run(
        "spec",
        "init",
        "platform",
        "--region",
        "eu-west-1",
        "--tier",
        "platform",
        "-f",
        "platform/platform.yaml",
    )
    seen = own.json("platform", "preview", expect=10)

    own.run("sandbox", "down")
    assert "error[platform-missing]" in missing
    assert "mutx-infra spec init platform --region REGION --tier platform" in nowhere
    assert seen["plan"]["tier"] == "platform"


def test_the_platform_s_tier_is_for_the_platform_alone(checkout: Checkout) -> None:
    checkout.write_spec("sly", tier="platform")

    refused = checkout.run("tenant", "create", "sly", expect=3).stderr

    assert "belong together" in refused


def test_it_cannot_be_destroyed(checkout: Checkout, platform: Any) -> None:
    refused = checkout.run("tenant", "destroy", "platform", "--yes", expect=4).stderr

    assert "error[platform-stays]" in refused
    assert checkout.json("platform", "show")["state"] == "ready"


@pytest.mark.usefixtures("beside")
def test_a_tenant_beside_the_platform_is_none_of_its_business(checkout: Checkout) -> None:
    assert checkout.json("platform", "create")["changes"]["resources"] == []


def test_building_it_calls_what_its_roles_are_granted_and_they_are_granted_no_more(platform: Any) -> None:
    home = {action for grant in platform_grants(HOME, "eu-west-1") for action in grant.actions}
    apart = {
        action for grant in platform_archive_grants(ARCHIVE_ACCOUNT, "eu-west-1") for action in grant.actions
    }
    tenants = {action for grant in deploy_grants(HOME, "eu-west-1", ["b"], ["r"]) for action in grant.actions}

    assert sorted(platform["recorded"] - home - apart - tenants) == []
    # What the engine asks of its own bucket, and what repairs keys that somebody changed, is tried elsewhere.
    assert sorted(home - platform["recorded"] - set(STATE)) == []
    assert sorted(apart - platform["recorded"] - tenants) == []
