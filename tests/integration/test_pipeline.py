"""What a CI pipeline does: plain `pulumi` on the stacks that the CLI made, with config and environment alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutx_infra.adapters.pulumi_engine import Engine
from tests.support.checkout import Checkout, copy_platform, copy_programs
from tests.support.pipeline import Pipeline


def test_a_pipeline_sees_no_changes_and_destroys_what_the_cli_made(
    checkout: Checkout, tmp_path: Path, engine: Engine
) -> None:
    copy_programs(checkout)
    (checkout.root / "Pulumi.acme.yaml").write_text(
        "config:\n  aws:region: eu-west-1\n  mutx-tenant:spec: tenants/acme.yaml\n", encoding="utf-8"
    )
    checkout.write_spec("acme")
    checkout.run("tenant", "create", "-f", "tenants/acme.yaml")
    checkout.run("sandbox", "project", str(tmp_path / "project"))
    pulumi = Pipeline(engine, tmp_path / "project", tmp_path / "project" / "env").run

    seen = pulumi("preview", "--stack", "acme", "--expect-no-changes")
    pulumi("up", "--stack", "acme", "--yes", "--skip-preview", "--expect-no-changes")
    refused = pulumi("destroy", "--stack", "acme", "--yes", expect=1)
    pulumi("state", "unprotect", "--all", "--stack", "acme", "--yes")
    pulumi("destroy", "--stack", "acme", "--yes", "--skip-preview")

    assert "unchanged" in seen
    assert "acme-data-vault-1" in refused
    assert "protected" in refused
    checkout.run("tenant", "destroy", "acme", "--yes")


@pytest.mark.full
def test_a_pipeline_sees_no_changes_of_the_platform_and_repairs_it_in_both_accounts(
    checkout: Checkout, tmp_path: Path, engine: Engine
) -> None:
    copy_programs(checkout)
    copy_platform(checkout)
    made = checkout.json("platform", "create")
    written = checkout.json("sandbox", "project", str(tmp_path / "project"))
    written = checkout.json("sandbox", "project", "--platform", str(tmp_path / "project"))
    pulumi = Pipeline(engine, Path(written["directory"]), Path(written["env"])).run
    bucket = made["outputs"]["buckets"]["archive-1y"]
    s3 = checkout.aws("s3", account=made["outputs"]["archive_account"])

    seen = pulumi("preview", "--stack", "platform", "--expect-no-changes")
    pulumi("up", "--stack", "platform", "--yes", "--skip-preview", "--expect-no-changes")
    s3.delete_public_access_block(Bucket=bucket)
    drifted = pulumi("up", "--stack", "platform", "--yes", "--skip-preview", "--refresh")
    after = checkout.json("platform", "create")

    assert written["directory"] == str(tmp_path / "project/stacks/platform")
    assert "unchanged" in seen
    assert "platform-bucket-archive-1y-closed" in drifted
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert after["changes"]["resources"] == []
