"""The real engine with the language host and the provider, by the CLI and without this project's own."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
import yaml
from mutx_sandbox.daemon import Sandbox
from mutx_sandbox.project import Written, write_project

from mutx_infra.adapters.pulumi_engine import Engine as EngineBinary
from tests.support.pulumi_cli import Pulumi

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).parent / "program"
SETTINGS = """\
name: sandbox-test
description: What the engine tests run
runtime:
  name: python
  options: {virtualenv: .venv}
main: program
config:
  sandbox-test:rules: {type: integer, default: 2}
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    found = Sandbox(tmp_path_factory.mktemp("engine") / "state")
    found.up()
    yield found
    found.down()


@pytest.fixture(scope="module")
def project(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Written:
    repo = tmp_path_factory.mktemp("repo")
    (repo / "Pulumi.yaml").write_text(SETTINGS)
    (repo / "program").symlink_to(PROGRAM)
    return write_project(repo, tmp_path_factory.mktemp("out"), sandbox)


@pytest.fixture
def pulumi(engine: EngineBinary, project: Written) -> Pulumi:
    stack = f"s{uuid4().hex[:8]}"
    (project.directory / f"Pulumi.{stack}.yaml").write_text("config:\n  aws:region: eu-west-1\n")
    found = Pulumi(engine.path, project, stack)
    found.run("stack", "init")
    return found


@pytest.fixture
def ec2(sandbox: Sandbox) -> Any:
    endpoint = sandbox.require_up().endpoints["aws"]
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client("ec2", region_name="eu-west-1", endpoint_url=endpoint, **keys)


def rules_of(ec2: Any, group: str) -> list[dict[str, Any]]:
    wanted = [{"Name": "group-id", "Values": [group]}]
    return [
        rule
        for rule in ec2.describe_security_group_rules(Filters=wanted)["SecurityGroupRules"]
        if not rule["IsEgress"]
    ]


def test_a_stack_is_previewed_made_found_unchanged_and_destroyed(pulumi, project, ec2):
    preview = pulumi.run("preview").stdout
    pulumi.up()
    made = pulumi.outputs()

    assert f"the root is {project.directory}" in preview
    assert "+ 6 to create" in preview
    assert made["account"] == "123456789012"
    pulumi.run("preview", "--refresh", "--expect-no-changes")
    pulumi.run("destroy", "--yes", "--skip-preview")
    assert made["vpc"] not in {vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"]}


def test_a_rule_removed_behind_the_back_is_named_and_put_back(pulumi, ec2):
    pulumi.up()
    group = pulumi.outputs()["group"]
    gone = rules_of(ec2, group)[0]
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[gone["SecurityGroupRuleId"]])

    preview = pulumi.run("preview", "--refresh").stdout
    pulumi.up("--refresh")

    assert f"rule-{gone['FromPort']}" in preview
    assert {rule["FromPort"] for rule in rules_of(ec2, group)} == {100, 101}


def test_replace_on_changes_replaces_what_would_be_updated(pulumi):
    pulumi.set(replace="true")
    pulumi.up()
    before = pulumi.outputs()["vpc"]
    pulumi.set(name="renamed")

    pulumi.up()

    assert pulumi.outputs()["vpc"] != before


def test_a_secret_is_in_no_plain_text_of_the_state(pulumi, project):
    pulumi.run("config", "set", "--secret", "note", "hunter22-hunter22")
    pulumi.up()

    backend = Path(project.variables["PULUMI_BACKEND_URL"].removeprefix("file://"))
    stored = [path for path in backend.rglob("*") if path.is_file() and pulumi.stack in str(path)]
    assert stored
    assert not any(b"hunter22" in path.read_bytes() for path in stored)
    assert "hunter22" not in pulumi.state()


def test_a_program_that_fails_is_reported_with_its_own_trace(pulumi):
    pulumi.set(fail="true")

    done = pulumi.run("preview", check=False)

    shown = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Program failed with an unhandled exception:" in shown
    assert "ValueError: the program does not want to" in shown
    assert "language_host.py" not in shown
    assert "runpy" not in shown


def test_a_second_provider_of_one_program_has_a_region_of_its_own(pulumi, project, sandbox):
    pulumi.set(other_region="eu-north-1")
    endpoint = sandbox.require_up().endpoints["aws"]
    pulumi.run(
        "config", "set", "aws:endpoints", json.dumps([{"ec2": endpoint, "sts": endpoint, "iam": endpoint}])
    )

    pulumi.up()

    assert pulumi.outputs()["far"].startswith("arn:aws:ec2:eu-north-1:")


def test_an_existing_resource_is_imported_by_its_id(pulumi, ec2):
    existing = ec2.create_vpc(CidrBlock="10.7.0.0/24")["Vpc"]["VpcId"]
    pulumi.set(**{"import": existing})

    pulumi.up()

    pulumi.run("preview", "--expect-no-changes")
    assert existing in pulumi.state()


def test_a_killed_engine_leaves_no_plugin_behind(pulumi, project):
    # Without a provider to attach to, the engine starts the launcher's.
    pulumi.variables = {"PULUMI_DEBUG_PROVIDERS": ""}
    process = subprocess.Popen(
        [*pulumi.command, "up", "--yes", "--skip-preview", "--stack", pulumi.stack],
        env=pulumi.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    plugins = wait_for_children(process.pid, 2)

    process.send_signal(signal.SIGKILL)
    process.wait()

    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in plugins):
        assert time.monotonic() < deadline, "a plugin is still running"
        time.sleep(0.05)


def wait_for_children(parent: int, count: int) -> list[int]:
    """Wait until a process has so many children, and return them."""
    deadline = time.monotonic() + 60
    while True:
        found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        tasks = Path(f"/proc/{parent}/task")
        found = [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
        if len(found) >= count:
            return [int(pid) for pid in found]
        assert time.monotonic() < deadline, "the engine started no plugins"
        time.sleep(0.05)


def test_an_interrupted_update_ends_and_the_next_one_finishes(pulumi, ec2):
    pulumi.set(rules="40")
    process = subprocess.Popen(
        [*pulumi.command, "up", "--yes", "--skip-preview", "--stack", pulumi.stack],
        env=pulumi.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "rule-" in line and "created" in line:
            break
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    process.wait(timeout=30)
    process.stdout.close()

    pulumi.up()

    assert len(rules_of(ec2, pulumi.outputs()["group"])) == 40


def test_the_project_is_the_checkouts_but_for_what_this_machine_adds(project):
    written = yaml.safe_load((project.directory / "Pulumi.yaml").read_text())

    assert written["name"] == "sandbox-test"
    assert written["description"] == "What the engine tests run"
    assert written["config"]["sandbox-test:rules"] == {"type": "integer", "default": 2}
    assert Path(written["main"]).is_absolute()
    assert {entry["name"] for kind in written["plugins"].values() for entry in kind} == {"aws", "python"}
