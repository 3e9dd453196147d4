"""The committed tenants: each can be built by plain `pulumi up`, and a demo leaves the checkout as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mutx_infra.adapters.spec_file import LOCK_SUFFIX, load_plan

CHECKOUT = Path(__file__).parents[2]
TENANTS = sorted(CHECKOUT / "tenants" / path for path in (CHECKOUT / "tenants").glob("*.yaml"))
SPECS = [path for path in TENANTS if not path.name.endswith(LOCK_SUFFIX)]
every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)


def test_the_platform_s_lock_file_holds_its_plan_of_today() -> None:
    spec = CHECKOUT / "platform" / "platform.yaml"
    lock = yaml.safe_load(spec.with_name(spec.stem + LOCK_SUFFIX).read_text(encoding="utf-8"))

    assert lock["plan"] == load_plan(spec).digest


def test_the_platform_s_stack_names_the_spec_and_both_accounts() -> None:
    directory = CHECKOUT / "stacks" / "platform"
    config = yaml.safe_load((directory / "Pulumi.platform.yaml").read_text(encoding="utf-8"))["config"]
    plan = load_plan(directory / config["mutx-platform:spec"])

    assert plan.tenant == "platform"
    assert plan.archive_account != plan.account
    assert config["aws:allowedAccountIds"] == [plan.account]
    assert config["aws:region"] == plan.region
    assert config["mutx-platform:archiveRole"]["roleArn"].split(":")[4] == plan.archive_account


def test_there_are_examples() -> None:
    assert len(SPECS) >= 2


@every_spec
def test_the_lock_file_holds_the_plan_of_today(spec: Path) -> None:
    lock = yaml.safe_load(spec.with_name(spec.stem + LOCK_SUFFIX).read_text(encoding="utf-8"))

    assert lock["plan"] == load_plan(spec).digest


@every_spec
def test_the_stack_names_the_spec_and_pins_its_account(spec: Path) -> None:
    config = yaml.safe_load((CHECKOUT / f"Pulumi.{spec.stem}.yaml").read_text(encoding="utf-8"))["config"]

    plan = load_plan(spec)
    assert config == {
        "aws:allowedAccountIds": [plan.account],
        "aws:region": plan.region,
        "mutx-tenant:spec": f"tenants/{spec.name}",
    }
