"""How the stand-in for the tailscale provider is configured and started."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mutx_sandbox.processes import module_command
from mutx_sandbox.tailscale.serve import Options, start
from mutx_sandbox.tailscale.sessions import Defaults
from pulumi.runtime.proto import provider_pb2 as pb

from tests.integration.sandbox.engine_client import Engine, pack, urn
from tests.support.tailscale_fake import API_KEY, Fault
from tests.support.tailscale_scenarios import (
    CASES,
    PREFERENCES,
    STREAM,
    WEBHOOK,
    failure_of,
)

pytestmark = pytest.mark.integration

HOOK = CASES["webhook"].inputs


# -- configuration


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"apiKey": None}, "no credentials"),
        ({"oauthClientId": "k", "oauthClientSecret": "s"}, "conflicts with oauthClientId"),
        ({"apiKey": None, "oauthClientId": "k"}, "oauthClientSecret: is missing"),
        ({"identityToken": "x"}, "tailscale:identityToken: not supported"),
        ({"scopes": '["all"]'}, "tailscale:scopes: not supported"),
        ({"baseUrl": "https://api.tailscale.com"}, "tailscale:baseUrl: only an endpoint on this machine"),
        ({"apiKey": "file:/nonexistent/key"}, "tailscale:apiKey: its file cannot be read"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(engine_of, config, words):
    assert words in failure_of(lambda: engine_of(**config))


def test_settings_that_it_would_ignore_fail_the_check_of_the_configuration(engine_of):
    engine = engine_of(configure=False)
    config = pack({"audience": "x", "tailnet": "-", "apiKey": API_KEY})

    answer = engine.stub.CheckConfig(pb.CheckRequest(urn=urn("pulumi:providers:tailscale", "p"), news=config))

    assert [failure.property for failure in answer.failures] == ["audience"]


def test_a_change_of_the_configuration_replaces_nothing(tailscale):
    request = pb.DiffRequest(old_inputs=pack({"tailnet": "a"}), news=pack({"tailnet": "b"}))

    assert list(tailscale.stub.DiffConfig(request).replaces) == []


def test_the_key_comes_from_the_credentials_file_of_the_daemon(fake, tmp_path):
    file = tmp_path / "credentials.json"
    file.write_text(f'{{"api_key": "{API_KEY}"}}')
    options = Options(Defaults(fake.url, "mutx.test", file))
    grpc_server, port = start(options)
    engine = Engine(port).configure()

    engine.create(PREFERENCES, magicDns=True)

    assert fake.routes() == ["POST tailnet/mutx.test/dns/preferences"]
    engine.close()
    grpc_server.stop(grace=None).wait()


@dataclass(frozen=True)
class Daemon:
    process: subprocess.Popen[str]
    port: int
    state: Path
    log: Path


@pytest.fixture
def daemon(fake, tmp_path: Path) -> Iterator[Daemon]:
    """The provider as the sandbox starts it."""
    state, log = tmp_path / "state", tmp_path / "log"
    state.mkdir()
    (state / "credentials.json").write_text(json.dumps({"api_key": API_KEY}))
    with log.open("w") as stream:
        process = subprocess.Popen(
            [
                *module_command("mutx_sandbox.tailscale"), "--endpoint", fake.url, "--tailnet", "mutx.test",
                "--credentials", str(state / "credentials.json"), "--port", "0",
                "--end-without", str(state / "credentials.json"),
            ],
            stdout=subprocess.PIPE, stderr=stream, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    yield Daemon(process, int(process.stdout.readline()), state, log)
    process.terminate()
    process.wait(10)
    process.stdout.close()


def test_the_daemon_serves_what_it_was_started_with_and_writes_no_secret(daemon, fake):
    fake.faults.append(Fault("PUT .*", 503))
    engine = Engine(daemon.port).configure()

    engine.create(STREAM, **CASES["log stream"].inputs)
    made = engine.create(WEBHOOK, **HOOK)
    engine.close()

    written = daemon.log.read_text()
    assert "asking again: PUT tailnet/mutx.test/logging/configuration/stream" in written
    assert [hidden for hidden in (API_KEY, "hunter22", made.outputs["secret"]) if hidden in written] == []


def test_the_daemon_ends_with_its_file(daemon):
    (daemon.state / "credentials.json").unlink()

    assert daemon.process.wait(10) == 1


def test_the_daemon_refuses_an_endpoint_elsewhere():
    done = subprocess.run(
        [*module_command("mutx_sandbox.tailscale"), "--endpoint", "https://api.tailscale.com"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "only an endpoint on this machine is called" in done.stderr
