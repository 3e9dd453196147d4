"""`mutx-infra sandbox …`: started, found up, killed, started at once by several, ended."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from mutx_infra.environment import Environment
from mutx_infra.settings import resolve_settings
from tests.support.processes import is_running

pytestmark = pytest.mark.integration

MODULE = "import sys; from mutx_infra.cli.app import main; sys.argv[0] = 'mutx-infra'; main()"


@dataclass
class Sandbox:
    """The command line, with a state directory of its own."""

    state: Path
    directory: Path

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "MUTX_INFRA_STATE": str(self.state)}
        done = subprocess.run(
            [sys.executable, "-c", MODULE, "sandbox", *arguments],
            env=env, cwd=self.directory, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json").stdout)

    def pids(self) -> dict[str, int]:
        return {process["name"]: process["pid"] for process in self.status()["processes"]}

    def ec2(self) -> Any:
        return boto3.client(
            "ec2",
            region_name="eu-west-1",
            endpoint_url=self.status()["endpoints"]["aws"],
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    (tmp_path / "work").mkdir()
    found = Sandbox(tmp_path / "state", tmp_path / "work")
    yield found
    found.run("down", check=False)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox that is up, for tests that leave it so."""
    root = tmp_path_factory.mktemp("running")
    (root / "work").mkdir()
    found = Sandbox(root / "state", root / "work")
    found.run("up")
    yield found
    found.run("down", check=False)


def wait_until_ended(*pids: int) -> None:
    deadline = time.monotonic() + 5
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.02)


def test_it_is_down_before_it_is_up(sandbox):
    done = sandbox.run("status", "--json", check=False)

    assert done.returncode == 4
    assert json.loads(done.stdout)["state"] == "down"
    assert "hint: run `mutx-infra sandbox up`" in done.stderr


def test_up_names_every_endpoint_and_writes_a_valid_current_profile(sandbox):
    begun = time.monotonic()
    shown = json.loads(sandbox.run("up", "--json").stdout)
    took_s = time.monotonic() - begun

    assert shown == sandbox.status()
    assert shown["schema_version"] == 1
    assert shown["state"] == "up"
    assert shown["endpoints"]["aws"].startswith("http://127.0.0.1:")
    profile = Environment.model_validate(yaml.safe_load(Path(shown["environment"]).read_text()))
    assert profile.is_loopback
    assert profile.aws.endpoint_url == shown["endpoints"]["aws"]
    assert profile.pulumi.attached_providers == {"aws": shown["endpoints"]["aws_provider"]}
    settings = resolve_settings({"MUTX_INFRA_STATE": str(sandbox.state)}, sandbox.directory)
    assert str(settings.environment_file) == shown["environment"]
    # Seconds on an idle machine: 1.7. The limit is for a busy one.
    assert took_s < 60


def test_files_that_hold_secrets_are_closed_to_others(running):
    for name in ("passphrase", "credentials", "environment.yaml", "sandbox.json"):
        assert stat.S_IMODE((running.state / "sandbox" / name).stat().st_mode) == 0o600, name


def test_a_second_up_finds_it_up_and_changes_nothing(running):
    before = running.status()

    second = running.run("up")

    assert "already up" in second.stderr
    assert running.status() == before


def test_several_ups_at_once_start_one_sandbox(sandbox):
    with ThreadPoolExecutor(4) as pool:
        shown = list(pool.map(lambda _: json.loads(sandbox.run("up", "--json").stdout), range(4)))

    assert len({json.dumps(entry, sort_keys=True) for entry in shown}) == 1


@pytest.mark.parametrize("victims", [("aws",), ("aws", "aws_provider")])
def test_after_a_death_the_next_up_starts_empty_and_says_so(sandbox, victims):
    sandbox.run("up")
    before = sandbox.pids()
    (sandbox.state / "sandbox" / "pulumi" / "left").write_text("state of the lost cloud")
    (sandbox.state / "sandbox" / "registry.db").write_text("tenants of the lost cloud")
    for name in victims:
        os.kill(before[name], signal.SIGKILL)
    wait_until_ended(*(before[name] for name in victims))
    assert sandbox.run("status", check=False).returncode == 4

    again = sandbox.run("up")

    assert all(name in again.stderr for name in victims)
    assert "empty one was started" in again.stderr
    assert not list((sandbox.state / "sandbox" / "pulumi").iterdir())
    assert not (sandbox.state / "sandbox" / "registry.db").exists()
    wait_until_ended(*before.values())


def test_a_provider_that_died_is_replaced_and_the_cloud_stays(sandbox):
    sandbox.run("up")
    before = sandbox.pids()
    sandbox.ec2().create_vpc(CidrBlock="10.9.0.0/24")
    (sandbox.state / "sandbox" / "pulumi" / "kept").write_text("state of the cloud that lives")
    os.kill(before["aws_provider"], signal.SIGKILL)
    wait_until_ended(before["aws_provider"])

    again = sandbox.run("up")

    after = sandbox.status()
    profile = yaml.safe_load((sandbox.state / "sandbox" / "environment.yaml").read_text())
    assert "the cloud is as it was" in again.stderr
    assert sandbox.pids()["aws"] == before["aws"]
    assert profile["pulumi"]["attached_providers"]["aws"] == after["endpoints"]["aws_provider"]
    assert "10.9.0.0/24" in [vpc["CidrBlock"] for vpc in sandbox.ec2().describe_vpcs()["Vpcs"]]
    assert (sandbox.state / "sandbox" / "pulumi" / "kept").exists()


def test_a_reused_pid_is_not_taken_for_the_sandbox(sandbox):
    sandbox.run("up")
    pids = sandbox.pids()
    record = sandbox.state / "sandbox" / "sandbox.json"
    content = json.loads(record.read_text())
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    content["processes"][0]["pid"] = bystander.pid
    record.write_text(json.dumps(content))

    sandbox.run("down")

    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    wait_until_ended(*pids.values())


def test_down_leaves_no_process_and_no_profile(sandbox):
    sandbox.run("up")
    pids = sandbox.pids()

    sandbox.run("down")

    assert not any(map(is_running, pids.values()))
    assert not (sandbox.state / "sandbox").exists()
    assert not (sandbox.state / "environment").exists()
    assert "there was no sandbox" in sandbox.run("down").stderr


def test_its_processes_end_when_its_state_directory_is_removed(sandbox):
    sandbox.run("up")
    pids = sandbox.pids()

    (sandbox.state / "sandbox" / "credentials").unlink()

    wait_until_ended(*pids.values())


def test_reset_empties_the_cloud_the_state_and_the_registry_and_restarts_nothing(sandbox):
    sandbox.run("up")
    before = sandbox.pids()
    vpc = sandbox.ec2().create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    (sandbox.state / "sandbox" / "pulumi" / "stack").write_text("x")
    (sandbox.state / "sandbox" / "registry.db").write_text("x")

    sandbox.run("reset")

    assert vpc not in {found["VpcId"] for found in sandbox.ec2().describe_vpcs()["Vpcs"]}
    assert not list((sandbox.state / "sandbox" / "pulumi").iterdir())
    assert not (sandbox.state / "sandbox" / "registry.db").exists()
    assert sandbox.pids() == before


def test_reset_of_a_sandbox_that_is_down_is_refused(sandbox):
    done = sandbox.run("reset", check=False)

    assert done.returncode == 4
    assert "error[sandbox-down]" in done.stderr


def test_faults_can_be_given_at_the_start_changed_and_ended(sandbox):
    sandbox.run("up", "--fault", "latency:seconds=0.01")

    given = json.loads(sandbox.run("faults", "--json").stdout)["faults"]
    changed = json.loads(sandbox.run("faults", "--fault", "throttle:every=3", "--json").stdout)["faults"]
    ended = json.loads(sandbox.run("faults", "--clear", "--json").stdout)["faults"]

    assert given[0]["fault"].startswith("latency:")
    assert changed[0]["fault"].startswith("throttle:")
    assert ended == []


def test_a_fault_that_does_not_exist_is_refused_before_anything_starts(sandbox):
    done = sandbox.run("up", "--fault", "earthquake", check=False)

    assert done.returncode == 2
    assert "known are 500, throttle, latency, drop, drop-response" in done.stderr
    assert sandbox.run("status", check=False).returncode == 4


def test_what_the_shell_says_about_aws_does_not_reach_the_daemon(running):
    environment = Path(f"/proc/{running.pids()['aws_provider']}/environ").read_text()

    assert "AWS_" not in environment
    assert "MUTX_" not in environment
