"""moto in a process of its own, the provider in this one, and what most resources stand on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from mutx_sandbox.aws.provider import Limits
from mutx_sandbox.aws.serve import Options, start
from mutx_sandbox.aws.sessions import Defaults

from tests.integration.sandbox.engine_client import Engine

REGION = "eu-west-1"
KEYS = {"accessKey": "sandbox", "secretKey": "sandbox"}


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The endpoint of a moto server."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mutx_sandbox.moto_server"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port = int(process.stdout.readline())
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=10)
    process.stdout.close()


@pytest.fixture(scope="session")
def provider_port(moto: str) -> Iterator[int]:
    """The port of a provider that waits two seconds at most for what is in use."""
    server, port = start(Options(Defaults(endpoint=moto), limits=Limits(delete_s=2.0)))
    yield port
    server.stop(grace=None).wait()


@pytest.fixture
def engine_of(provider_port: int) -> Iterator[Any]:
    """Makes engines connected to the provider, configured unless told otherwise."""
    engines: list[Engine] = []

    def make(*, configure: bool = True, **config: Any) -> Engine:
        engine = Engine(provider_port)
        engines.append(engine)
        return engine.configure(**{"region": REGION, **KEYS, **config}) if configure else engine

    yield make
    for engine in engines:
        engine.control.set_faults()
        engine.close()


@pytest.fixture
def aws(engine_of: Any) -> Engine:
    """An engine in eu-west-1."""
    return engine_of()


@pytest.fixture
def boto(moto: str) -> Any:
    """Makes boto3 clients for going behind the provider's back."""

    def make(service: str, region: str = REGION) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=moto,
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",
        )

    return make


@pytest.fixture
def ec2(boto: Any) -> Any:
    return boto("ec2")
