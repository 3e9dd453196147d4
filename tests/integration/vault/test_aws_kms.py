"""A Vault that is sealed by a key of KMS: HashiCorp's server has it built in, OpenBao by a pinned plugin."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.kms.models import kms_backends
from moto.server import ThreadedMotoServer

from mutx_infra.adapters.vault_templates import render_server
from mutx_infra.byok import AwsKmsSeal, Product
from tests.support.administrator import Administrator
from tests.support.vault import RunningVault, running_vault, started_server
from tests.support.vault_people import deposit
from tests.support.vault_product import begin, hashicorp

REGION = "eu-west-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
ARN = f"arn:aws:kms:{REGION}:123456789012:key/1234-abcd"
PLUGIN = "#!/bin/sh\necho started >>started\n"


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


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_tenant_s_key_opens_its_vault_and_nothing_else_does(kms: Any, endpoint: str) -> None:
    made = kms.create_key()["KeyMetadata"]
    arn, key = made["Arn"], made["KeyId"]
    variables = {**CREDENTIALS, "AWS_KMS_ENDPOINT": endpoint}
    seal = AwsKmsSeal(type="awskms", key_arn=arn)
    with running_vault(seal=seal, variables=variables, product=Product.VAULT, binary=hashicorp()) as vault:
        begin(Administrator(vault, vault.folder / "ann"))
        deposit(vault.as_admin(), "shared/openai", "sk-sealed")
        sealed_by = vault.vault.health().seal

        vault.stop()
        vault.start()
        read = vault.as_admin().read("byok/data/shared/openai")
        vault.stop()
        # The key as it is when it is disabled or deleted; moto goes on with such a one.
        keys = kms_backends[ARN.split(":")[4]][REGION].keys
        taken = keys.pop(key)
        with pytest.raises(AssertionError, match="no Vault"):
            vault.start(within_s=5)
        vault.stop()
        keys[key] = taken
        vault.start()
        again = vault.as_admin().read("byok/data/shared/openai")

    assert sealed_by == "awskms"
    assert read is not None
    assert again is not None
    assert read["data"] == again["data"] == {"key": "sk-sealed"}


def test_openbao_starts_the_plugin_of_the_profile_s_digest_and_no_other() -> None:
    with tempfile.TemporaryDirectory(prefix="vault-") as name:
        folder = Path(name)
        vault = RunningVault("acme", folder)
        vault.prepare()
        plugins = folder / "plugins"
        plugins.mkdir()
        program = plugins / vault.plan.paths.kms_plugin
        program.write_text(PLUGIN)
        program.chmod(0o755)

        another = said_by(vault, plugins, hashlib.sha256(b"another").hexdigest())
        was_started_before = (folder / "started").exists()
        own = said_by(vault, plugins, hashlib.sha256(PLUGIN.encode()).hexdigest())
        was_started = (folder / "started").exists()

    assert "checksum" in another.lower(), another
    assert (was_started_before, was_started) == (False, True)
    # It is no plugin. One was not to be had: how it speaks with KMS was not exercised.
    assert "unknown wrapper" not in own


def said_by(vault: RunningVault, plugins: Path, digest: str) -> str:
    """Return what OpenBao logs when it comes upon a seal of KMS whose plugin has a digest."""
    plan = replace(
        vault.plan,
        seal=AwsKmsSeal(type="awskms", key_arn=ARN),
        seal_plugin=digest,
        paths=replace(vault.plan.paths, plugins=str(plugins)),
    )
    (vault.folder / "server.hcl").write_text(render_server(plan))
    (vault.folder / "server.log").unlink(missing_ok=True)
    server, log = started_server(vault.folder, CREDENTIALS), vault.folder / "server.log"
    deadline = time.monotonic() + 20
    while "awskms" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    server.communicate(timeout=30)
    return log.read_text()
