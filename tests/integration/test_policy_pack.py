"""The policy pack as a pipeline runs it: by the real engine, on a program that breaks the rules and on our own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mutx_infra.adapters.pulumi_engine import Engine
from tests.support.checkout import ROOT, Checkout
from tests.support.tenants import assert_each_exists_once, create, resources_of

PACK = ROOT / "stacks" / "policy"
VIOLATED = {
    "no-world-ingress": "world",
    "no-public-address": "public",
    "no-wildcard-iam": "wildcard",
    "tags": "untagged",
    "flow-logs": "unlogged",
    "no-data-route-out": "way-out",
    "encryption-at-rest": "plain",
    "imds-v2": "tokenless",
}
"""Rule → the planted resource."""


def pulumi(engine: Engine, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = f'set -a; . "{project}/env"; exec "$@"'
    command = [str(engine.path), "--non-interactive", "-C", str(project), *arguments]
    return subprocess.run(
        ["/bin/bash", "-c", script, "bash", *command],
        env=dict(os.environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def pack(checkout: Checkout) -> Path:
    """The pack where it names an environment that exists: beside a checkout's `.venv`."""
    copy = checkout.root / "stacks" / "policy"
    if not copy.exists():
        shutil.copytree(
            ROOT / "stacks", checkout.root / "stacks", ignore=shutil.ignore_patterns("__pycache__")
        )
    return copy


def test_our_stack_keeps_to_every_rule(
    checkout: Checkout, engine: Engine, pack: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "tenants", checkout.root / "tenants", dirs_exist_ok=True)
    shutil.copy(ROOT / "Pulumi.acme.yaml", checkout.root)
    checkout.run("sandbox", "project", str(tmp_path / "project"))

    policies = ["--stack", "acme", "--policy-pack", str(pack)]
    pulumi(engine, tmp_path / "project", "stack", "init", "acme")
    made = pulumi(engine, tmp_path / "project", "up", "--yes", "--skip-preview", *policies)
    seen = pulumi(engine, tmp_path / "project", "preview", *policies)

    assert made.returncode == 0, made.stdout + made.stderr
    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert "✅ mutx-infra@" in seen.stdout


def test_each_planted_violation_is_refused_with_resource_reason_and_remedy(
    checkout: Checkout, engine: Engine, pack: Path, tmp_path: Path
) -> None:
    program = checkout.root / "violating"
    shutil.copytree(ROOT / "tests/integration/policy/violating", program)
    checkout.run("sandbox", "project", str(tmp_path / "project"))
    settings = tmp_path / "project" / "Pulumi.yaml"
    content = yaml.safe_load(settings.read_text("utf-8"))
    content["main"], content["name"] = str(program), "violating"
    content["config"].pop("mutx-tenant:spec", None)
    content["config"]["aws:region"] = {"value": "eu-west-1"}
    settings.write_text(yaml.safe_dump(content), encoding="utf-8")

    pulumi(engine, tmp_path / "project", "stack", "init", "bad")
    seen = pulumi(engine, tmp_path / "project", "preview", "--stack", "bad", "--policy-pack", str(pack))

    found = set(re.findall(r"\[mandatory\] +(\S+) +\([^:]+:[^:]+:[^:]+: (\S+)\)", seen.stdout))
    assert seen.returncode != 0
    assert set(VIOLATED.items()) <= found, seen.stdout + seen.stderr
    for name, resource in VIOLATED.items():
        assert re.search(rf"{name} .*{resource}.*\n.*\n +{resource}: .+; .+", seen.stdout), name


STRICT = """
import sys
from mutx_infra.adapters import policy_pack
policy_pack.ENTRY = '''
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

def no_networks(args, report):
    if args.resource_type == "aws:ec2/vpc:Vpc":
        report("acme-vpc: there shall be none; leave it out")

PolicyPack("strict", enforcement_level=EnforcementLevel.MANDATORY, policies=[
    ResourceValidationPolicy(name="no-networks", description="No networks", validate=no_networks)])
'''
from mutx_infra.cli.app import main
sys.argv = ["mutx-infra", *sys.argv[1:]]
main()
"""
"""The command line with a pack of one rule that our stack breaks; the real pack has none of these."""


def test_a_program_that_breaks_a_rule_is_stopped_before_that_resource_is_made(
    checkout: Checkout, tenant: str
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", STRICT, *arguments], cwd=checkout.root, env=dict(os.environ),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    for command in ("preview", "create"):
        refused = run("tenant", command, tenant)
        assert refused.returncode == 6, refused.stderr
        assert "error[policy-violated]" in refused.stderr
        assert "no-networks: acme-vpc: there shall be none; leave it out" in refused.stderr
    assert checkout.json("tenant", "show", tenant)["state"] == "failed"
    assert [name for name in resources_of(checkout, tenant) if name.endswith("-vpc")] == []

    assert create(checkout, tenant)["state"] == "ready"

    assert_each_exists_once(checkout, tenant)


@pytest.mark.full
def test_a_plan_that_passed_is_not_judged_again(checkout: Checkout, tenant: str) -> None:
    create(checkout, tenant)
    work_dir = checkout.root / ".mutx/stacks/sandbox" / tenant
    written = (work_dir / "policy" / "__main__.py").stat().st_mtime_ns

    create(checkout, tenant)
    passed = (work_dir / "policy" / "__main__.py").stat().st_mtime_ns
    checkout.write_spec(tenant, tags={"changed": "yes"})
    create(checkout, tenant)

    assert passed == written
    assert (work_dir / "policy" / "__main__.py").stat().st_mtime_ns > written
