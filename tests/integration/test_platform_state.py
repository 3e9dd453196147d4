"""The platform's state moves into its own bucket and under its own key, by the real engine, on S3 and KMS."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import pytest

from mutx_infra.adapters.pulumi_engine import Engine
from tests.support.checkout import Checkout, copy_platform
from tests.support.tenants import ended, engines_of, kill

pytestmark = pytest.mark.timeout(900)
"""A platform has three times the resources of a tenant, and each test makes or moves one."""


@pytest.fixture(scope="module")
def platform(checkout: Checkout) -> Any:
    """The platform of the repository, with its state in the sandbox's file backend."""
    copy_platform(checkout)
    return checkout.json("platform", "create")


def own_place(checkout: Checkout) -> str:
    """Write a profile that names the platform's own bucket and key, as `platform show` says; no passphrase."""
    shown = checkout.json("platform", "show")["profile"]
    return checkout.profile(
        "own",
        pulumi={
            "backend_url": shown["pulumi.backend_url"],
            "secrets_provider": shown["pulumi.secrets_provider"],
            "passphrase_file": None,
        },
    )


def stacks_at(checkout: Checkout, engine: Engine, profile: dict[str, str]) -> set[str]:
    """The platform's stacks that plain `pulumi` finds at a backend."""
    sandbox = checkout.root / ".mutx/sandbox"
    variables = {
        "AWS_SHARED_CREDENTIALS_FILE": str(sandbox / "credentials"),
        "PULUMI_BACKEND_URL": profile["pulumi.backend_url"],
        "PULUMI_HOME": str(checkout.root / ".home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    listed = subprocess.run(
        [str(engine.path), "stack", "ls", "--all"],
        env={**os.environ, **variables},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    lines = listed.stdout.splitlines()[1:]
    return {line.split()[0].rsplit("/", 1)[-1] for line in lines if "mutx-platform/" in line}


def test_a_move_that_is_killed_and_run_again_loses_nothing_and_the_new_profile_sees_no_change(
    checkout: Checkout, platform: Any, engine: Engine
) -> None:
    here = {"pulumi.backend_url": (checkout.root / ".mutx/sandbox/pulumi").as_uri()}
    there = checkout.json("platform", "show")["profile"]
    environment = own_place(checkout)
    # The backend's own file: `pulumi stack ls` takes so long on a crowded machine that the move may be over by then.
    before = checkout.root / ".mutx/sandbox/pulumi/.pulumi/stacks/mutx-platform/platform.json"
    assert before.is_file()
    process = checkout.start("platform", "move-state")
    deadline = time.monotonic() + 60
    while before.is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    engines = engines_of(checkout, "platform")
    process.kill()
    for pid in engines:
        kill(pid)
    process.wait()
    assert ended(checkout, "platform", 25)
    between = stacks_at(checkout, engine, here) | stacks_at(checkout, engine, there)
    refused = checkout.run("platform", "create", expect=4).stderr

    moved = checkout.json("platform", "move-state")
    again = checkout.json("platform", "move-state")
    made = checkout.json("platform", "create", "--environment", environment)

    assert "platform" not in between
    assert "error[state-moved]" in refused
    assert "platform move-state" in refused
    assert (moved["moved"], again["moved"], moved["resources"]) == (True, False, again["resources"])
    assert moved["profile"] == {name: there[name] for name in moved["profile"]}
    assert (made["changes"]["resources"], made["state"]) == ([], "ready")
    assert made["outputs"] == platform["outputs"]
    assert stacks_at(checkout, engine, here) == {"platform-moved"}
    assert stacks_at(checkout, engine, there) == {"platform"}


def test_the_profile_of_before_makes_nothing_anew(checkout: Checkout, platform: Any) -> None:
    checkout.json("platform", "move-state")

    seen = checkout.run("platform", "preview", expect=4).stderr
    refused = checkout.run("platform", "create", expect=4).stderr

    assert "error[state-moved]" in seen
    assert "error[state-moved]" in refused
    assert "pulumi.backend_url" in refused
    vpcs = checkout.aws("ec2").describe_vpcs(Filters=[{"Name": "tag:mutx:tenant", "Values": ["platform"]}])
    assert len(vpcs["Vpcs"]) == 1


def test_another_machine_opens_the_state_by_its_key(checkout: Checkout, platform: Any) -> None:
    """The seal is in the state: no work directory and no passphrase are needed."""
    checkout.json("platform", "move-state")
    environment = own_place(checkout)

    elsewhere = Checkout(checkout.root, {"MUTX_INFRA_STATE": str(checkout.root / ".other")})

    assert elsewhere.json("platform", "create", "--environment", environment)["changes"]["resources"] == []


def test_there_is_nothing_to_move_before_the_platform_stands(checkout: Checkout) -> None:
    environment = checkout.profile("empty", registry={"url": f"sqlite:///{checkout.root}/.mutx/empty.db"})

    refused = checkout.run("platform", "move-state", "--environment", environment, expect=4).stderr

    assert "error[platform-missing]" in refused


def test_a_target_that_is_not_there_leaves_everything_as_it_was(checkout: Checkout, platform: Any) -> None:
    checkout.json("platform", "move-state")
    environment = own_place(checkout)
    endpoint = checkout.json("sandbox", "status")["endpoints"]["aws"]
    nowhere = f"s3://no-such-bucket?region=eu-west-1&endpoint={endpoint}&use_path_style=true"

    failed = checkout.run("platform", "move-state", "-e", environment, "--to", nowhere, expect=5).stderr

    assert "error[state-backend-failed]" in failed
    assert checkout.json("platform", "create", "-e", environment)["changes"]["resources"] == []
