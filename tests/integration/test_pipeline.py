"""What a CI pipeline does: plain `pulumi` on the stacks that the CLI made, with config and environment alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mutx_infra.adapters.pulumi_engine import Engine
from tests.support.checkout import ROOT, Checkout


@pytest.fixture
def offline_project(checkout: Checkout, tmp_path: Path) -> Path:
    """The repository's program in a generated project that names the sandbox's plugins."""
    if not (checkout.root / "stacks").exists():
        shutil.copytree(
            ROOT / "stacks", checkout.root / "stacks", ignore=shutil.ignore_patterns("__pycache__")
        )
    (checkout.root / "Pulumi.acme.yaml").write_text(
        "config:\n  aws:region: eu-west-1\n  mutx-tenant:spec: tenants/acme.yaml\n", encoding="utf-8"
    )
    checkout.write_spec("acme")
    checkout.run("tenant", "create", "-f", "tenants/acme.yaml")
    checkout.run("sandbox", "project", str(tmp_path / "project"))
    return tmp_path / "project"


def test_a_pipeline_sees_no_changes_and_destroys_what_the_cli_made(
    checkout: Checkout, offline_project: Path, engine: Engine
) -> None:
    def pulumi(*arguments: str, expect: int = 0) -> str:
        script = f'set -a; . "{offline_project}/env"; exec "$@"'
        done = subprocess.run(
            [
                "/bin/bash",
                "-c",
                script,
                "bash",
                str(engine.path),
                "--non-interactive",
                "-C",
                str(offline_project),
                *arguments,
            ],
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == expect, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    seen = pulumi("preview", "--stack", "acme", "--expect-no-changes")
    pulumi("up", "--stack", "acme", "--yes", "--skip-preview", "--expect-no-changes")
    refused = pulumi("destroy", "--stack", "acme", "--yes", expect=1)
    pulumi("state", "unprotect", "--all", "--stack", "acme", "--yes")
    pulumi("destroy", "--stack", "acme", "--yes", "--skip-preview")

    assert "unchanged" in seen
    assert "acme-data-vault-1" in refused
    assert "protected" in refused
    checkout.run("tenant", "destroy", "acme", "--yes")
