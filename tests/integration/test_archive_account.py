"""The log archive in an account of its own: made there and nowhere else, also by a run that was killed."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.checkout import Checkout, copy_platform, make_checkout
from tests.support.tenants import ended, engines_of, kill

pytestmark = pytest.mark.timeout(900)
"""A platform has three times the resources of a tenant, and each test makes or moves one."""

HOME, ARCHIVE = "123456789012", "310987654321"
BUCKETS = [f"mutx-archive-{years}-{ARCHIVE}-eu-west-1" for years in ("1y", "7y")]
SEED = 20
"""Decides at which moment a run is killed; one at random would fail where nobody can repeat it."""


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with the platform's spec, and a sandbox of its own in which nothing is made yet."""
    made = make_checkout(tmp_path_factory.mktemp("archive") / "check out")
    copy_platform(made)
    made.run("sandbox", "up")
    yield made
    made.run("sandbox", "down")


@pytest.fixture(scope="module")
def standing(checkout: Checkout) -> Any:
    """What `platform create` printed when it made the platform; each test leaves it as planned."""
    copy_platform(checkout)
    return checkout.json("platform", "create")


def buckets_in(checkout: Checkout, account: str) -> list[str]:
    """The platform's buckets in an account, without those that the sandbox has from its beginning."""
    found = checkout.aws("s3", account=None if account == HOME else account).list_buckets()["Buckets"]
    names = {bucket["Name"] for bucket in found if bucket["Name"].startswith("mutx-")}
    return sorted(names - {"mutx-archive-sandbox", "mutx-history-sandbox"})


def archive_keys_in(checkout: Checkout, account: str) -> list[str]:
    """The keys in an account that carry the platform's tag and the archive's purpose."""
    kms = checkout.aws("kms", account=None if account == HOME else account)
    tags = {
        key["KeyId"]: {t["TagKey"]: t["TagValue"] for t in kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]}
        for key in kms.list_keys()["Keys"]
    }
    wanted = {"mutx:tenant": "platform", "mutx:purpose": "archive"}
    return [key for key, found in tags.items() if wanted.items() <= found.items()]


def assert_the_archive_stands_once_and_apart(checkout: Checkout) -> None:
    kms = checkout.aws("kms", account=ARCHIVE)
    (key,) = archive_keys_in(checkout, ARCHIVE)
    aliases = {
        alias["AliasName"]: alias["TargetKeyId"]
        for alias in kms.list_aliases()["Aliases"]
        if alias["AliasName"].startswith("alias/mutx/")
    }

    assert buckets_in(checkout, ARCHIVE) == BUCKETS
    assert not [name for name in buckets_in(checkout, HOME) if "archive" in name]
    assert archive_keys_in(checkout, HOME) == []
    assert aliases == {"alias/mutx/platform/archive": key}
    assert f"arn:aws:iam::{ARCHIVE}:root" in kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]


def test_a_wrong_external_id_is_refused_before_anything_is_made(fresh: Checkout) -> None:
    role = {"name": "mutx-deploy", "external_id": "somebody-else"}
    environment = fresh.profile("refused", aws={"tenant_role": role})

    seen = fresh.run("platform", "preview", "-e", environment, expect=4).stderr
    refused = fresh.run("platform", "create", "-e", environment, expect=4).stderr

    assert "error[role-denied]" in seen
    assert "error[role-denied]" in refused
    assert (
        fresh.aws("ec2").describe_vpcs(Filters=[{"Name": "tag:mutx:tenant", "Values": ["platform"]}])["Vpcs"]
        == []
    )
    assert fresh.run("platform", "show", "-e", environment, expect=4).stderr.startswith(
        "error[platform-missing]"
    )
    assert not (fresh.root / "platform/platform.lock.yaml").exists()


def test_an_account_that_the_profile_does_not_pin_is_refused(fresh: Checkout) -> None:
    another = "210987654321"
    environment = fresh.profile("other", aws={"archive_account": another}, archive={"account": another})
    unpinned = fresh.profile("none", aws={"archive_account": None})

    other = fresh.run("platform", "create", "-e", environment, expect=4).stderr
    none = fresh.run("platform", "create", "-e", unpinned, expect=4).stderr

    assert f"error[archive-mismatch]: the log archive's account {ARCHIVE} is not the one" in other
    assert "which is pinned to 210987654321" in other
    assert "which names none" in none
    assert "aws.archive_account" in none


@pytest.mark.full
def test_without_an_account_of_its_own_the_archive_is_said_not_to_be_apart(fresh: Checkout) -> None:
    spec = fresh.root / "platform/platform.yaml"
    spec.write_text(spec.read_text(encoding="utf-8").partition("archive:")[0], encoding="utf-8")

    seen = fresh.run("platform", "preview", expect=10).stdout
    made = fresh.run("platform", "create")
    shown = fresh.json("platform", "show")

    assert f"account {HOME}, not apart" in seen
    assert f"account {HOME}, not apart" in made.stderr
    assert f"account {HOME}, not apart" in fresh.run("platform", "show").stdout
    assert shown["profile"]["archive.account"] == HOME
    assert len(buckets_in(fresh, HOME)) == 4
    assert buckets_in(fresh, ARCHIVE) == []
    moved = f'{spec.read_text(encoding="utf-8")}archive:\n  account: "{ARCHIVE}"\n'
    spec.write_text(moved, encoding="utf-8")
    assert "error[spec-archive-fixed]" in fresh.run("platform", "create", expect=3).stderr


@pytest.mark.full
def test_a_create_that_is_killed_leaves_every_archive_resource_once_in_the_right_account(
    fresh: Checkout,
) -> None:
    moments = random.Random(SEED)
    for _ in range(3):
        process = fresh.start("platform", "create")
        wait_for_the_archive(fresh, moments.uniform(0.0, 1.5))
        engines = engines_of(fresh, "platform")
        process.kill()
        for pid in engines:
            kill(pid)
        process.wait()
        assert ended(fresh, "platform", 25)

    made = fresh.json("platform", "create")

    assert made["state"] == "ready"
    assert_the_archive_stands_once_and_apart(fresh)
    assert fresh.json("platform", "create")["changes"]["resources"] == []


def wait_for_the_archive(checkout: Checkout, more_s: float) -> None:
    """Wait until the archive's account holds a key, then a little longer: archive resources are under way then."""
    deadline = time.monotonic() + 60
    while not checkout.aws("kms", account=ARCHIVE).list_keys()["Keys"] and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(more_s)


def test_what_differs_in_the_archive_s_account_is_named_and_put_right(
    checkout: Checkout, standing: Any
) -> None:
    s3, kms = (checkout.aws(name, account=ARCHIVE) for name in ("s3", "kms"))
    key = standing["outputs"]["key_arns"]["archive"]
    s3.delete_public_access_block(Bucket=BUCKETS[0])
    kms.disable_key_rotation(KeyId=key)

    unrefreshed = checkout.run("platform", "create", "--no-refresh", expect=6).stderr
    seen = checkout.json("platform", "preview", expect=10)
    repaired = checkout.json("platform", "create")

    assert f"bucket {BUCKETS[0]} in account {ARCHIVE}" in unrefreshed
    assert "open to the world" in unrefreshed
    assert f"key archive in account {ARCHIVE}, Enabled, not rotated" in unrefreshed
    wanted = ["platform-bucket-archive-1y-closed", "platform-key-archive"]
    assert sorted(change["name"] for change in seen["changes"]["resources"]) == wanted
    assert sorted(change["name"] for change in repaired["changes"]["resources"]) == wanted
    assert key.split(":")[4] == ARCHIVE
    assert_the_archive_stands_once_and_apart(checkout)


def test_what_a_dead_engine_made_in_the_archive_s_account_is_adopted_there(
    checkout: Checkout, standing: Any
) -> None:
    """As if the engine had died before it could record the end of any creation in that account."""
    forgotten = forget_what_the_archive_s_provider_made(checkout)

    made = checkout.run("platform", "create", "--json")

    assert len(forgotten) == 15
    assert all(name in made.stderr.partition("adopted ")[2] for name in forgotten)
    assert "found nothing of" not in made.stderr
    assert [c for c in json.loads(made.stdout)["changes"]["resources"] if c["operation"] == "create"] == []
    assert_the_archive_stands_once_and_apart(checkout)
    assert checkout.json("platform", "create")["changes"]["resources"] == []


def forget_what_the_archive_s_provider_made(checkout: Checkout) -> list[str]:
    (path,) = (checkout.root / ".mutx").rglob("stacks/mutx-platform/platform.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    latest = content["checkpoint"]["latest"]
    made = [r for r in latest["resources"] if "archive-account::" in r.get("provider", "")]
    # The key stays: what other resources were made from cannot have been unrecorded when they were.
    gone = [r for r in made if r["type"] != "aws:kms/key:Key"]
    latest["resources"] = [r for r in latest["resources"] if r not in gone]
    unfinished = [{k: v for k, v in r.items() if k not in {"id", "outputs"}} for r in gone]
    latest["pending_operations"] = [{"resource": r, "type": "creating"} for r in unfinished]
    path.write_text(json.dumps(content), encoding="utf-8")
    return [str(r["urn"]).rsplit("::", 1)[-1] for r in gone]


@pytest.mark.full
def test_a_rotated_external_id_is_no_obstacle_and_no_change(checkout: Checkout, standing: Any) -> None:
    iam = checkout.aws("iam", account=ARCHIVE)
    trust = iam.get_role(RoleName="mutx-deploy")["Role"]["AssumeRolePolicyDocument"]
    rotated = json.loads(json.dumps(trust).replace("mutx-sandbox", "rotated"))
    iam.update_assume_role_policy(RoleName="mutx-deploy", PolicyDocument=json.dumps(rotated))
    role = {"name": "mutx-deploy", "external_id": "rotated"}
    environment = checkout.profile("rotated", aws={"tenant_role": role})
    try:
        refused = checkout.run("platform", "create", expect=4).stderr
        made = checkout.json("platform", "create", "-e", environment)
    finally:
        iam.update_assume_role_policy(RoleName="mutx-deploy", PolicyDocument=json.dumps(trust))

    assert "error[role-denied]" in refused
    assert (made["state"], made["changes"]["resources"]) == ("ready", [])
    assert checkout.json("platform", "create")["changes"]["resources"] == []
