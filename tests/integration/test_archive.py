"""A tenant's logs in a locked bucket of another account: every event outlives the tenant and all its keys."""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from tests.support.accounts import ARCHIVE_ACCOUNT
from tests.support.checkout import Checkout
from tests.support.tenants import create, keys_of, resources_of

ARCHIVE, HISTORY = "mutx-archive-sandbox", "mutx-history-sandbox"
BEGIN = int(time.time() * 1000) - 3_600_000
Written = Counter[tuple[str, str, int, str]]


def write(checkout: Checkout, tenant: str, group: str, stream: str, number: int, text: str) -> Written:
    """Write events into a tenant's log group as a host does; returns what was written."""
    logs, name = checkout.aws("logs"), f"/mutx/{tenant}/{group}"
    logs.create_log_stream(logGroupName=name, logStreamName=stream)
    events = [{"timestamp": BEGIN + n // 3, "message": f"{text} {n}"} for n in range(number)]
    for start in range(0, number, 10_000):
        logs.put_log_events(logGroupName=name, logStreamName=stream, logEvents=events[start : start + 10_000])
    return Counter((group, stream, event["timestamp"], event["message"]) for event in events)


def read(checkout: Checkout, tenant: str, *options: str) -> Written:
    """What the archive prints."""
    lines = checkout.run("archive", "events", tenant, *options).stdout.splitlines()
    named = [json.loads(line) for line in lines]
    assert [event["timestamp"] for event in named] == sorted(event["timestamp"] for event in named)
    return Counter((e["group"], e["stream"], e["timestamp"], e["message"]) for e in named)


def versions(s3: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    return [version for page in pages for version in page.get("Versions") or []]


@pytest.fixture(scope="module")
def s3(checkout: Checkout) -> Any:
    """S3 as the archive's account sees it."""
    return checkout.aws("s3", "us-east-1", ARCHIVE_ACCOUNT)


@pytest.fixture(scope="module")
def gone(checkout: Checkout) -> tuple[Written, Any]:
    """What was written in a tenant that is destroyed by now, and what the destroy printed."""
    checkout.write_spec("acme")
    create(checkout, "acme")
    written = write(checkout, "acme", "hosts", "agent-1", 12_000, "Accepted publickey for zoë €")
    written += write(checkout, "acme", "hosts", "vault-1", 300, "sudo")
    written += write(checkout, "acme", "vault-audit", "vault-1", 50, '{"type":"request"}')
    return written, checkout.json("tenant", "destroy", "acme", "--yes")


def test_every_event_is_read_back_though_all_keys_of_the_tenant_are_gone(
    checkout: Checkout, gone: tuple[Written, Any]
) -> None:
    written, destroyed = gone
    kms = checkout.aws("kms")
    keys = [one["id"] for one in destroyed["tombstones"] if one["kind"] == "KMS key"]

    assert {state for _purpose, state in keys_of(checkout, "acme")} == {"PendingDeletion"}
    assert not any(kms.describe_key(KeyId=key)["KeyMetadata"]["Enabled"] for key in keys)
    assert read(checkout, "acme") == written
    assert resources_of(checkout, "acme") == []


def test_events_are_chosen_by_group_and_time(checkout: Checkout, gone: tuple[Written, Any]) -> None:
    written, _destroyed = gone
    since, until = (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(BEGIN / 1000 + n)) for n in (1, 3))
    first, last = (BEGIN // 1000 + 1) * 1000, (BEGIN // 1000 + 3) * 1000

    found = read(checkout, "acme", "--group", "hosts", "--since", since, "--until", f"{until}Z")

    assert found == Counter(
        {key: n for key, n in written.items() if key[0] == "hosts" and first <= key[2] < last}
    )


def test_what_is_kept_is_listed_and_verified(checkout: Checkout, gone: tuple[Written, Any]) -> None:
    listed = checkout.json("archive", "list", "acme")["groups"]
    verified = checkout.json("archive", "verify", "acme")

    assert {(one["group"], one["events"], one["retention_days"], one["control"]) for one in listed} == {
        ("/mutx/acme/hosts", 12_300, 365, "AUDIT-1"),
        ("/mutx/acme/vault-audit", 50, 365, "AUDIT-1"),
        ("/mutx/acme/vpc-flow-logs", 0, 30, "ZTNA-6"),
    }
    assert {one["group"]: one["streams"] for one in listed}["/mutx/acme/hosts"] == {
        "agent-1": 12_000,
        "vault-1": 300,
    }
    assert (verified["events"], verified["is_whole"]) == (12_350, True)
    table = checkout.run("archive", "list", "acme").stdout
    assert "365 days (AUDIT-1)" in table


def test_what_is_left_is_exactly_what_the_destroy_has_listed(
    checkout: Checkout, gone: tuple[Written, Any], s3: Any
) -> None:
    kms, own = checkout.aws("kms"), checkout.aws("s3", "us-east-1")
    listed = {(one["kind"], one["id"]): one for one in gone[1]["tombstones"]}
    expected = {("KMS key", key["KeyId"]) for key in kms.list_keys()["Keys"]}
    for kind, client, bucket in (("history object", own, HISTORY), ("archive object", s3, ARCHIVE)):
        for version in versions(client, bucket, "acme/"):
            name, version_id = version["Key"], version["VersionId"]
            id_ = f"s3://{bucket}/{name}?versionId={version_id}"
            expected.add((kind, id_))
            head = client.head_object(Bucket=bucket, Key=name, VersionId=version_id)
            tags = client.get_object_tagging(Bucket=bucket, Key=name, VersionId=version_id)["TagSet"]
            day = head["ObjectLockRetainUntilDate"].date().isoformat()
            assert head["ObjectLockMode"] == "COMPLIANCE"
            assert {tag["Key"]: tag["Value"] for tag in tags} == {
                "mutx:tenant": "acme",
                "mutx:retained-until": day,
            }
            assert listed[kind, id_]["retained_until"] == day

    mine = {pair for pair in expected if pair[0] != "KMS key" or pair in listed}
    assert set(listed) == mine
    assert Counter(kind for kind, _id in listed)["KMS key"] == 5


def test_no_archived_object_can_be_deleted(checkout: Checkout, gone: tuple[Written, Any], s3: Any) -> None:
    found = versions(s3, ARCHIVE, "acme/")

    for version in found:
        for more in ({}, {"BypassGovernanceRetention": True}):
            with pytest.raises(ClientError, match="AccessDenied"):
                s3.delete_object(Bucket=ARCHIVE, Key=version["Key"], VersionId=version["VersionId"], **more)
    assert len(found) >= 5


def test_the_archive_lies_under_a_key_of_its_own_account(checkout: Checkout, s3: Any) -> None:
    rules = s3.get_bucket_encryption(Bucket=ARCHIVE)["ServerSideEncryptionConfiguration"]["Rules"]
    key = rules[0]["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]

    found = checkout.aws("kms", "us-east-1", ARCHIVE_ACCOUNT).describe_key(KeyId=key)["KeyMetadata"]

    assert (found["AWSAccountId"], found["KeyState"]) == (ARCHIVE_ACCOUNT, "Enabled")


def copied(s3: Any, tenant: str) -> list[str]:
    """Give another tenant's name the same objects, to be tampered with; returns the names of its chunks."""
    names = []
    for version in versions(s3, ARCHIVE, "acme/"):
        source = {"Bucket": ARCHIVE, "Key": version["Key"], "VersionId": version["VersionId"]}
        name = version["Key"].replace("acme/", f"{tenant}/", 1)
        until = s3.head_object(**source)["ObjectLockRetainUntilDate"].date().isoformat()
        s3.put_object(
            Bucket=ARCHIVE, Key=name, Body=s3.get_object(**source)["Body"].read(),
            Tagging=f"mutx%3Atenant={tenant}&mutx%3Aretained-until={until}",
        )  # fmt: skip
        names.append(name)
    return sorted(name for name in names if name.endswith(".gz"))


@pytest.mark.parametrize("how", ["covered", "hidden"])
def test_an_object_that_somebody_covered_or_hid_is_named_and_read_as_it_was(
    checkout: Checkout, gone: tuple[Written, Any], s3: Any, tenant: str, how: str
) -> None:
    chunk = copied(s3, tenant)[-1]
    checkout.run("archive", "verify", tenant)
    if how == "covered":
        forged = gzip.compress(
            b'{"timestamp":1,"ingestion_time":1,"stream":"a","message":"nothing happened"}\n'
        )
        s3.put_object(Bucket=ARCHIVE, Key=chunk, Body=forged)
    else:
        s3.delete_object(Bucket=ARCHIVE, Key=chunk)

    refused = checkout.run("archive", "verify", tenant, expect=6).stderr

    assert "error[archive-broken]" in refused
    assert refused.splitlines()[0].endswith(f"{chunk}: something was put over it, or hides it")
    assert read(checkout, tenant) == gone[0]


def test_what_was_never_kept_is_said(checkout: Checkout, gone: tuple[Written, Any]) -> None:
    nobody = checkout.run("archive", "list", "nobody", expect=4).stderr
    group = checkout.run("archive", "events", "acme", "--group", "dns", expect=4).stderr
    odd = checkout.run("archive", "events", "acme", "--since", "yesterday", expect=2).stderr

    assert "error[archive-unknown]: nothing is kept of nobody" in nobody
    assert "nothing is kept of dns of acme" in group
    assert "kept are: hosts, vault-audit, vpc-flow-logs" in group
    assert "'yesterday' is no time" in odd


@pytest.mark.full
def test_a_weak_archive_is_refused_and_a_killed_destroy_is_gone_on_with(
    checkout: Checkout, tenant: str, s3: Any
) -> None:
    """One tenant for both: it takes longer to make than all of this."""
    create(checkout, tenant)
    written = write(checkout, tenant, "hosts", "agent-1", 30_000, "x" * 1_000)
    before = resources_of(checkout, tenant)
    for lock in (None, {"Mode": "COMPLIANCE", "Days": 364}, {"Mode": "GOVERNANCE", "Years": 1}):
        refused = checkout.run(
            "tenant", "destroy", tenant, "--yes", "-e", weak(checkout, s3, lock), expect=4
        ).stderr
        assert "error[archive-retention]" in refused
        assert (
            "hint: give its bucket Object Lock, compliance mode, with a default retention of 365" in refused
        )
    assert resources_of(checkout, tenant) == before
    assert checkout.json("tenant", "show", tenant)["state"] == "ready"

    process = checkout.start("tenant", "destroy", tenant, "--yes")
    wait_for_a_chunk(s3, tenant, process)
    process.kill()
    process.wait()
    half = {version["Key"] for version in versions(s3, ARCHIVE, f"{tenant}/")}
    finished = checkout.json("tenant", "resume", tenant)

    assert half
    assert not [name for name in half if "manifest" in name]
    assert finished["state"] == "destroyed"
    assert read(checkout, tenant) == written
    checkout.run("archive", "verify", tenant)
    whole = versions(s3, ARCHIVE, f"{tenant}/")
    assert half < {version["Key"] for version in whole}
    assert max(Counter(version["Key"] for version in whole).values()) == 1
    chunks = [version for version in whole if version["Key"].endswith(".gz")]
    lines = [
        line
        for chunk in chunks
        for line in gzip.decompress(
            s3.get_object(Bucket=ARCHIVE, Key=chunk["Key"])["Body"].read()
        ).splitlines()
    ]
    assert len(lines) == written.total()


def weak(checkout: Checkout, s3: Any, lock: dict[str, Any] | None) -> str:
    """Write a profile whose archive is a bucket with this default retention; returns its name."""
    name = "weak-" + "-".join(str(value).lower() for value in (lock or {"none": "none"}).values())
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock is not None)
    if lock is not None:
        s3.put_object_lock_configuration(
            Bucket=name,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": lock}},
        )
    profile = yaml.safe_load((checkout.root / ".mutx/sandbox/environment.yaml").read_text(encoding="utf-8"))
    profile["archive"]["url"] = f"s3://{name}?region=us-east-1"
    path = checkout.root / "environments" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(profile), encoding="utf-8")
    return name


def wait_for_a_chunk(s3: Any, tenant: str, process: Any) -> None:
    deadline = time.monotonic() + 90
    while not s3.list_objects_v2(Bucket=ARCHIVE, Prefix=f"{tenant}/").get("Contents"):
        assert process.poll() is None, "the destroy ended before anything was archived"
        assert time.monotonic() < deadline
        time.sleep(0.02)
