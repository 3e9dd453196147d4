"""The yardsticks are honest: the boto3 script makes the very network that the plan holds, and takes it down again."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from mutx_infra.adapters.aws_cloud import AwsCloud
from mutx_infra.adapters.aws_session import AwsSession
from mutx_infra.environment import AwsEndpoint
from mutx_infra.plan import TenantPlan
from mutx_infra.verification import compare
from tests.support.checkout import ROOT, Checkout
from tests.support.specs import ACCOUNT
from tests.support.tenants import resources_of

BENCHMARKS = ROOT / "benchmarks"
_spec = spec_from_file_location("documents", BENCHMARKS / "documents.py")
assert _spec is not None
assert _spec.loader is not None
_documents = module_from_spec(_spec)
_spec.loader.exec_module(_documents)
documents_of = _documents.documents_of


def test_the_boto3_script_makes_what_the_plan_holds(checkout: Checkout, tenant: str, tmp_path: Path) -> None:
    seen = checkout.json("tenant", "preview", tenant, expect=10)
    plan_file, receipt = tmp_path / "plan.json", tmp_path / "receipt.json"
    plan = TenantPlan.model_validate(seen["plan"])
    plan_file.write_text(json.dumps({**seen, "documents": documents_of(plan)}), encoding="utf-8")
    endpoint = checkout.endpoint
    credentials = str(checkout.root / ".mutx/sandbox/credentials")
    session = AwsSession(AwsEndpoint(account_id=ACCOUNT, endpoint_url=endpoint, credentials_file=credentials))

    def run(action: str) -> None:
        script = str(BENCHMARKS / "baselines" / "boto3_script.py")
        command = [sys.executable, script, action, str(plan_file), endpoint, str(receipt)]
        subprocess.run(command, check=True, timeout=60)

    run("create")
    differences = [str(finding) for finding in compare(plan, AwsCloud(session).observe(plan))]
    run("destroy")

    assert differences == []
    assert resources_of(checkout, tenant) == []


@pytest.mark.full
def test_the_benchmarks_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "run.py", "--rounds", "1", "--tenants", "1", "--without-ansible"],
        cwd=BENCHMARKS, capture_output=True, text=True, timeout=200, check=True,
    )  # fmt: skip

    assert "`mutx-infra tenant create acme --no-refresh`" in done.stdout
    assert done.stdout.count("\n| ") > 12
