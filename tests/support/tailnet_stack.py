"""A project of the tailnet's program for the real engine, attached to the stand-in for the tailscale provider."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from mutx_sandbox.processes import module_command
from mutx_sandbox.project import Written

from mutx_infra.adapters.pulumi_engine import Engine
from tests.support.pulumi_cli import Pulumi
from tests.support.tailscale_scenarios import FAILING, OVERWRITING, Server, policy

PROGRAM = Path(__file__).parent / "tailnet_program"
TOKEN = "hunter22-of-splunk"


def tailnet_stack(engine: Engine, folder: Path, provider_port: int, server: Server) -> Pulumi:
    """Write a project and an empty stack with the API's address and key."""
    host = folder / "pulumi-language-python"
    host.write_text(f'#!/bin/sh\nexec {shlex.join(module_command("mutx_sandbox.language_host"))} "$@"\n')
    host.chmod(0o755)
    (folder / "state").mkdir()
    settings = {
        "name": "tailnet-test",
        "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}},
        "main": str(PROGRAM),
        "plugins": {"languages": [{"name": "python", "path": str(folder)}]},
    }
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(settings))
    variables = {
        "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "of the test",
        "PULUMI_DEBUG_PROVIDERS": f"tailscale:{provider_port}",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_HOME": str(folder / ".pulumi"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    stack = Pulumi(engine.path, Written(folder, folder / "env", variables), f"s{uuid4().hex[:8]}")
    stack.run("stack", "init")
    plain = {"tailscale:baseUrl": server.url, "policy": policy(indent=2)}
    secret = {"tailscale:apiKey": server.api_key, "token": TOKEN}
    words = [word for name, value in plain.items() for word in ("--plaintext", f"{name}={value}")]
    words += [word for name, value in secret.items() for word in ("--secret", f"{name}={value}")]
    stack.run("config", "set-all", *words)
    return stack


def all_is_made_found_unchanged_put_right_and_removed(stack: Pulumi, server: Server) -> None:
    stack.set(reset="true")
    default = server.policy()

    shown = stack.run("preview").stdout
    stack.up()
    outputs = stack.outputs()

    assert "+ 9 to create" in shown
    assert server.policy() == policy(indent=2)
    assert outputs["https"] is False
    assert outputs["audience"]
    assert asked(server, f"webhooks/{outputs['webhook']}")["endpointUrl"] == "https://alerts.example.com"
    stack.run("preview", "--refresh", "--expect-no-changes")

    server.ask("PATCH", "tailnet/-/settings", {"devicesKeyDurationDays": 90})
    assert server.ask("DELETE", f"webhooks/{outputs['webhook']}").ok
    drift = stack.run("preview", "--refresh").stdout
    assert "devicesKeyDurationDays" in drift
    assert "+ 1 to create" in drift
    stack.set(days="60", policy=policy(8443))
    stack.up("--refresh")
    assert asked(server, "tailnet/-/settings")["devicesKeyDurationDays"] == 60
    assert server.policy() == policy(8443)
    assert stack.outputs()["webhook"] != outputs["webhook"]

    stack.run("destroy", "--yes", "--skip-preview")
    assert server.policy() == default
    assert asked(server, "tailnet/-/webhooks")["webhooks"] == []
    assert server.ask("GET", "tailnet/-/logging/network/stream").status_code == 404


def a_policy_of_others_is_refused_until_it_is_imported(stack: Pulumi, server: Server) -> None:
    server.write_policy(policy(9999))
    stack.set(policy_only="true", policy=policy(9999))

    done = stack.run("up", "--yes", "--skip-preview", check=False)

    assert done.returncode != 0
    assert OVERWRITING in done.stdout + done.stderr
    stack.set(import_policy="acl")
    stack.up()
    stack.run("preview", "--refresh", "--expect-no-changes")
    server.write_policy("")


def a_policy_whose_tests_fail_is_refused_in_the_preview(stack: Pulumi, server: Server) -> None:
    before = server.policy()
    stack.set(policy=FAILING)

    done = stack.run("preview", check=False)

    shown = done.stdout + done.stderr
    assert done.returncode != 0
    assert "test(s) failed" in shown
    assert "tag:agent:5432" in shown
    assert server.policy() == before
    assert stack.resources() == []


def no_secret_is_in_plain_text(stack: Pulumi, server: Server) -> None:
    shown = stack.up("--diff", "--show-config")
    secret = stack.outputs()["secret"]

    stored = [path for path in Path(stack.project.directory).rglob("*") if path.is_file()]
    assert secret
    assert stored
    for hidden in (secret, TOKEN, server.api_key):
        assert [path for path in stored if hidden.encode() in path.read_bytes()] == []
        assert hidden not in shown
        assert hidden not in stack.state()
    stack.run("destroy", "--yes", "--skip-preview")
    server.write_policy("")


STACKS = (
    all_is_made_found_unchanged_put_right_and_removed,
    a_policy_of_others_is_refused_until_it_is_imported,
    a_policy_whose_tests_fail_is_refused_in_the_preview,
    no_secret_is_in_plain_text,
)


def asked(server: Server, path: str) -> Any:
    return json.loads(server.ask("GET", path).text)
