"""The platform's state moves into its own bucket and under its own key, by the real engine, on S3 and KMS."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import Any

import pytest

from mutx_infra.adapters.pulumi_engine import Engine
from tests.support.checkout import Checkout, copy_platform
from tests.support.tenants import ended, engines_of, kill

pytestmark = pytest.mark.timeout(900)
"""A platform has three times the resources of a tenant, and each test makes or moves one."""


@dataclass(frozen=True)
class Move:
    """The platform, and what was seen of its state's move: killed once, then run to its end, then run again."""

    made: Any
    there: dict[str, str]
    between: set[str]
    refused: str
    moved: Any
    again: Any


@pytest.fixture(scope="module")
def move(checkout: Checkout, engine: Engine) -> Move:
    """The platform of the repository, its state moved out of the sandbox's file backend into the platform's own."""
    copy_platform(checkout)
    made = checkout.json("platform", "create")
    there = checkout.json("platform", "show")["profile"]
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
    return Move(
        made=made,
        there=there,
        between=stacks_at(checkout, engine, backend_of_before(checkout)) | stacks_at(checkout, engine, there),
        refused=checkout.run("platform", "create", expect=4).stderr,
        moved=checkout.json("platform", "move-state"),
        again=checkout.json("platform", "move-state"),
    )


def backend_of_before(checkout: Checkout) -> dict[str, str]:
    """The sandbox's file backend, as a profile names it."""
    return {"pulumi.backend_url": (checkout.root / ".mutx/sandbox/pulumi").as_uri()}


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
    checkout: Checkout, move: Move, engine: Engine
) -> None:
    made = checkout.json("platform", "create", "--environment", own_place(checkout))

    assert "platform" not in move.between
    assert "error[state-moved]" in move.refused
    assert "platform move-state" in move.refused
    assert (move.moved["moved"], move.again["moved"]) == (True, False)
    assert move.moved["resources"] == move.again["resources"]
    assert move.moved["profile"] == {name: move.there[name] for name in move.moved["profile"]}
    assert (made["changes"]["resources"], made["state"]) == ([], "ready")
    assert made["outputs"] == move.made["outputs"]
    assert stacks_at(checkout, engine, backend_of_before(checkout)) == {"platform-moved"}
    assert stacks_at(checkout, engine, move.there) == {"platform"}


@pytest.mark.usefixtures("move")
def test_the_profile_of_before_makes_nothing_anew(checkout: Checkout) -> None:
    seen = checkout.run("platform", "preview", expect=4).stderr
    refused = checkout.run("platform", "create", expect=4).stderr

    assert "error[state-moved]" in seen
    assert "error[state-moved]" in refused
    assert "pulumi.backend_url" in refused
    vpcs = checkout.aws("ec2").describe_vpcs(Filters=[{"Name": "tag:mutx:tenant", "Values": ["platform"]}])
    assert len(vpcs["Vpcs"]) == 1


@pytest.mark.usefixtures("move")
def test_another_machine_opens_the_state_by_its_key(checkout: Checkout) -> None:
    """The seal is in the state: no work directory and no passphrase are needed."""
    environment = own_place(checkout)

    elsewhere = Checkout(checkout.root, {"MUTX_INFRA_STATE": str(checkout.root / ".other")})

    assert elsewhere.json("platform", "create", "--environment", environment)["changes"]["resources"] == []


def test_there_is_nothing_to_move_before_the_platform_stands(checkout: Checkout) -> None:
    environment = checkout.profile("empty", registry={"url": f"sqlite:///{checkout.root}/.mutx/empty.db"})

    refused = checkout.run("platform", "move-state", "--environment", environment, expect=4).stderr

    assert "error[platform-missing]" in refused


@pytest.mark.full
@pytest.mark.usefixtures("move")
def test_a_target_that_is_not_there_leaves_everything_as_it_was(checkout: Checkout) -> None:
    environment = own_place(checkout)
    # A create by the old profile, refused in another test, leaves a failed run.
    checkout.json("platform", "create", "-e", environment)
    endpoint = checkout.json("sandbox", "status")["endpoints"]["aws"]
    nowhere = f"s3://no-such-bucket?region=eu-west-1&endpoint={endpoint}&use_path_style=true"

    failed = checkout.run("platform", "move-state", "-e", environment, "--to", nowhere, expect=5).stderr

    assert "error[state-backend-failed]" in failed
    assert checkout.json("platform", "create", "-e", environment)["changes"]["resources"] == []
