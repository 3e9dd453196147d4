"""What a run survives: being killed at any moment, an AWS that fails, a state that was torn. Nothing exists twice."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from mutx_sandbox.aws.control import open_control

from tests.support.checkout import Checkout
from tests.support.tenants import (
    assert_each_exists_once,
    await_recorded,
    create,
    ended,
    engines_of,
    kill,
    recorded,
    resources_of,
)

POINTS = range(10)
"""Moments of a create: from its begin, by ninths of what it makes, until all is made and not yet verified."""
MANY = 10_000
QUICK = {(3, True)}
"""What `make test` takes of the moments, with and without killing the engine too."""
GRACE_S = 25


STANDING = "standing"


@pytest.fixture(scope="module")
def whole(checkout: Checkout) -> int:
    """How many resources a whole tenant has; the one that was made for it stands for the tests that need one."""
    checkout.write_spec(STANDING)
    create(checkout, STANDING)
    return recorded(checkout, STANDING)


@pytest.mark.parametrize(
    ("point", "kills_engine"),
    [
        pytest.param(
            point,
            kills_engine,
            marks=[] if (point, kills_engine) in QUICK else [pytest.mark.full],
            id=f"{point}-{'cli-and-engine' if kills_engine else 'cli'}",
        )
        for point in POINTS
        for kills_engine in (False, True)
    ],
)
def test_a_create_killed_at_any_moment_is_finished_by_the_next(
    checkout: Checkout, tenant: str, whole: int, point: int, kills_engine: bool
) -> None:
    process = checkout.start("tenant", "create", "-f", f"tenants/{tenant}.yaml")
    time.sleep(0.3)
    await_recorded(checkout, tenant, process, range(whole * point // POINTS[-1], MANY))
    engines = [pid for pid in engines_of(checkout, tenant) if not is_analyzer(pid)] if kills_engine else []
    process.kill()
    for pid in engines:
        kill(pid)
    process.wait()

    made = create(checkout, tenant)

    assert made["state"] == "ready"
    assert ended(checkout, tenant, 2)
    assert_each_exists_once(checkout, tenant)
    assert create(checkout, tenant)["changes"]["resources"] == []


def is_analyzer(pid: int) -> bool:
    """Whether a process runs the policy pack: it must end by itself when its engine is killed."""
    try:
        return b"pulumi.policy" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_no_engine_outlives_a_killed_command(checkout: Checkout, tenant: str, whole: int) -> None:
    process = checkout.start("tenant", "create", "-f", f"tenants/{tenant}.yaml")
    await_recorded(checkout, tenant, process, range(whole // 2, MANY))
    assert engines_of(checkout, tenant)

    process.kill()
    process.wait()

    assert ended(checkout, tenant, GRACE_S)


def test_ctrl_c_ends_in_order_and_resume_finishes(checkout: Checkout, tenant: str, whole: int) -> None:
    process = checkout.start("tenant", "create", "-f", f"tenants/{tenant}.yaml")
    await_recorded(checkout, tenant, process, range(whole // 2, MANY))

    process.send_signal(signal.SIGINT)

    assert process.wait(GRACE_S) == 130
    assert engines_of(checkout, tenant) == []
    assert checkout.json("tenant", "status", tenant)["last_run"]["state"] == "failed"
    assert checkout.json("tenant", "resume", tenant)["state"] == "ready"
    assert_each_exists_once(checkout, tenant)


def test_a_destroy_killed_halfway_is_finished_by_resume(checkout: Checkout, tenant: str, whole: int) -> None:
    create(checkout, tenant)
    process = checkout.start("tenant", "destroy", tenant, "--yes")
    await_recorded(checkout, tenant, process, range(whole * 2 // 3))
    engines = engines_of(checkout, tenant)
    process.kill()
    for pid in engines:
        kill(pid)
    process.wait()

    finished = checkout.json("tenant", "resume", tenant)

    assert finished["state"] == "destroyed"
    assert resources_of(checkout, tenant) == []


FAULTS = {
    "errors": ["500:operation=*,every=11"],
    "throttled": ["throttle:operation=*,every=4"],
    "slow": ["latency:operation=Create*,every=3,seconds=0.2"],
    "requests-lost": ["drop:operation=*,every=9"],
    "answers-lost": ["drop-response:operation=*,every=9"],
    "all": [
        "500:every=31",
        "throttle:every=29",
        "latency:every=23,seconds=0.1",
        "drop:every=19",
        "drop-response:every=17",
    ],
}


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(faults, id=name, marks=[] if name == "all" else [pytest.mark.full])
        for name, faults in FAULTS.items()
    ],
)
def test_a_create_gets_through_an_aws_that_fails_now_and_then(
    checkout: Checkout, tenant: str, faults: list[str]
) -> None:
    with open_control(checkout.json("sandbox", "status")["endpoints"]["aws_provider"]) as control:
        control.set_faults(*faults)
        try:
            under_faults = checkout.run("tenant", "create", tenant, expect=None)
            struck = [fault["hits"] for fault in control.faults()]
        finally:
            control.set_faults()

    made = create(checkout, tenant)

    assert min(struck) > 3
    assert under_faults.returncode in {0, 5}, under_faults.stderr
    if under_faults.returncode:
        assert "hint:" in under_faults.stderr
    assert made["state"] == "ready"
    assert_each_exists_once(checkout, tenant)


@pytest.mark.usefixtures("whole")
def test_an_aws_that_is_away_is_named_and_nothing_is_lost(checkout: Checkout) -> None:
    sandbox = checkout.json("sandbox", "status")
    profile = Path(sandbox["environment"])
    away = profile.with_name("away.yaml")
    nobody = profile.read_text("utf-8").replace(sandbox["endpoints"]["aws"], "http://127.0.0.1:9")
    away.write_text(nobody, encoding="utf-8")

    refused = checkout.run("tenant", "create", STANDING, "-e", str(away), expect=5)

    assert "error[aws-unreachable]" in refused.stderr
    assert checkout.json("tenant", "show", STANDING)["state"] == "ready"
    assert create(checkout, STANDING)["changes"]["resources"] == []


@pytest.mark.parametrize("part", [pytest.param("state", marks=pytest.mark.full), "sidecar"])
@pytest.mark.usefixtures("whole")
def test_a_state_that_was_torn_is_mended_by_the_next_create(checkout: Checkout, part: str) -> None:
    (state,) = (checkout.root / ".mutx").rglob(f"stacks/*/{STANDING}.json")
    torn = state if part == "state" else state.with_name(f"{state.name}.attrs")
    torn.write_bytes(b"" if part == "sidecar" else state.read_bytes()[:100])

    assert create(checkout, STANDING)["state"] == "ready"

    assert_each_exists_once(checkout, STANDING)
