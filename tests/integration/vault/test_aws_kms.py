"""A Vault that is sealed by a key of KMS: the real server's own code for it, against the sandbox's KMS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from mutx_infra.byok import AwsKmsSeal
from tests.support import vault as support
from tests.support.vault import RunningVault, running_vault
from tests.support.vault_people import deposit

REGION = "eu-west-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def kms(endpoint: str) -> Any:
    return boto3.client(
        "kms", region_name=REGION, endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test"
    )  # fmt: skip


def test_the_tenant_s_key_opens_its_vault_and_nothing_else_does(kms: Any, endpoint: str) -> None:
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    variables = {**CREDENTIALS, "AWS_KMS_ENDPOINT": endpoint}
    with running_vault(seal=AwsKmsSeal(type="awskms", key_arn=arn), variables=variables) as vault:
        deposit(vault.as_admin(), "shared/openai", "sk-sealed")
        sealed_by = vault.vault.health().seal

        vault.stop()
        vault.start()
        read = vault.as_admin().read("byok/data/shared/openai")
        vault.stop()
        kms.disable_key(KeyId=arn)
        is_closed = stays_closed(vault)
        kms.enable_key(KeyId=arn)
        vault.start()
        again = vault.as_admin().read("byok/data/shared/openai")
        vault.stop()
        kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
        is_closed_for_good = stays_closed(vault)

    assert sealed_by == "awskms"
    assert read is not None
    assert again is not None
    assert read["data"] == again["data"] == {"key": "sk-sealed"}
    assert (is_closed, is_closed_for_good) == (True, True)


def stays_closed(vault: RunningVault) -> bool:
    """Say whether a server does not come up."""
    waited, support.READY_WITHIN_S = support.READY_WITHIN_S, 5
    try:
        vault.start()
    except AssertionError:
        return True
    finally:
        support.READY_WITHIN_S = waited
        vault.stop()
    return False
