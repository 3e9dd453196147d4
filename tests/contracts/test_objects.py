"""What every object store does: memory, files, and S3 in an account that is entered by a role."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mutx_infra.adapters.aws_session import AwsSession
from mutx_infra.adapters.object_files import FileObjects
from mutx_infra.adapters.object_s3 import S3Objects
from mutx_infra.environment import AwsEndpoint, TenantRole
from mutx_infra.ports import ObjectStore
from tests.support.accounts import ARCHIVE_ACCOUNT, ROLE
from tests.support.specs import ACCOUNT
from tests.support.world import MemoryObjects

BUCKET = "mutx-archive-sandbox"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The endpoint of the sandbox's AWS."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mutx_sandbox.moto_server"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.terminate()
    process.wait(timeout=10)
    process.stdout.close()


@pytest.fixture
def session(moto: str, tmp_path: Path) -> AwsSession:
    """AWS as the archive's account sees it."""
    credentials = tmp_path / "credentials"
    credentials.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n", encoding="utf-8")
    endpoint = AwsEndpoint(
        account_id=ACCOUNT,
        tenant_role=TenantRole(**ROLE),
        endpoint_url=moto,
        credentials_file=str(credentials),
    )
    return AwsSession(endpoint).for_account(ARCHIVE_ACCOUNT)


@pytest.fixture
def bucket(session: AwsSession, tmp_path: Path) -> S3Objects:
    """A store below a prefix that no other test uses."""
    return S3Objects(session, f"s3://{BUCKET}/{tmp_path.name}?region=us-east-1", "archive", ARCHIVE_ACCOUNT)


@pytest.fixture(
    params=[
        pytest.param("memory", marks=pytest.mark.unit),
        pytest.param("files", marks=pytest.mark.unit),
        pytest.param("s3", marks=pytest.mark.integration),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "s3":
        found: ObjectStore = request.getfixturevalue("bucket")
        return found
    return MemoryObjects() if request.param == "memory" else FileObjects(f"file://{tmp_path}/store")


def test_an_object_is_written_once(store: ObjectStore) -> None:
    first, second = store.put_once("acme/a/1", b"first"), store.put_once("acme/a/1", b"second")

    assert (first, second) == (True, False)
    assert store.get("acme/a/1") == b"first"
    assert store.get("acme/a/2") is None


def test_names_are_found_by_their_beginning_however_deep(store: ObjectStore) -> None:
    for name in ("acme/a/1", "acme/a/b/2", "acme/c/3", "acme2/a/1"):
        store.put_once(name, b"")

    assert sorted(store.names("acme/")) == ["acme/a/1", "acme/a/b/2", "acme/c/3"]
    assert sorted(store.names("acme/a/")) == ["acme/a/1", "acme/a/b/2"]
    assert store.names("nobody/") == ()


def test_what_was_written_is_listed_in_order_and_read_by_its_version(store: ObjectStore) -> None:
    for name in ("acme/b", "acme/a", "acme/c"):
        store.put_once(name, name.encode())

    found = store.stored("acme/")

    assert [(one.name, one.is_covered) for one in found] == [
        ("acme/a", False),
        ("acme/b", False),
        ("acme/c", False),
    ]
    assert [store.get(one.name, one.version) for one in found] == [b"acme/a", b"acme/b", b"acme/c"]


def test_what_is_locked_says_whose_it_is_and_until_when(store: ObjectStore) -> None:
    store.put_once("acme/a/1", b"")
    store.put_once("globex/a/1", b"")
    store.mark("acme/")

    found = store.locked("acme/", "thing")

    if store.retention_days() is None:
        assert found == ()
        return
    (one,) = found
    assert (one.kind, one.purpose, one.tenant, one.is_locked, one.flaw) == ("thing", "a", "acme", True, "")
    assert one.goes_at is not None
    assert one.retained_until == one.goes_at.date().isoformat()


@pytest.mark.parametrize("how", ["covered", "hidden"])
def test_in_s3_the_first_version_is_found_below_whatever_was_put_over_it(
    bucket: S3Objects, session: AwsSession, tmp_path: Path, how: str
) -> None:
    s3, key = session.client("s3", "us-east-1"), f"{tmp_path.name}/acme/a"
    bucket.put_once("acme/a", b"first")
    for _ in range(2):
        if how == "covered":
            s3.put_object(Bucket=BUCKET, Key=key, Body=b"forged")
        else:
            s3.delete_object(Bucket=BUCKET, Key=key)

    (found,) = bucket.stored("acme/")

    assert found.is_covered
    assert bucket.get(found.name, found.version) == b"first"
    assert bucket.get("acme/a") == (b"forged" if how == "covered" else None)


def test_in_s3_an_object_that_lost_its_tags_gets_them_again_beside_others(
    bucket: S3Objects, session: AwsSession, tmp_path: Path
) -> None:
    s3, key = session.client("s3", "us-east-1"), f"{tmp_path.name}/acme/a"
    bucket.put_once("acme/a", b"")
    s3.put_object_tagging(Bucket=BUCKET, Key=key, Tagging={"TagSet": [{"Key": "team", "Value": "blue"}]})
    (untagged,) = bucket.locked("acme/", "thing")

    bucket.mark("acme/")

    (marked,) = bucket.locked("acme/", "thing")
    tags = s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
    assert (untagged.flaw, marked.flaw) == ("without its tenant's tag", "")
    assert {"Key": "team", "Value": "blue"} in tags
