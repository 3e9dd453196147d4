"""What reaches a child process: what the profile says, and nothing that the caller's shell says against it."""

from __future__ import annotations

from typing import Any

import pytest

from mutx_infra.adapters.child_environment import child_environment
from mutx_infra.environment import Environment
from tests.support.specs import ACCOUNT

STRAY = {
    "AWS_ENDPOINT_URL": "http://evil", "AWS_ENDPOINT_URL_EC2": "http://evil", "AWS_REGION": "us-west-2",
    "AWS_DEFAULT_REGION": "us-west-2", "PULUMI_DEBUG_PROVIDERS": "aws:9", "PULUMI_BACKEND_URL": "file:///evil",
    "PULUMI_CONFIG_PASSPHRASE": "secret", "PULUMI_HOME": "/evil", "PULUMI_SKIP_CHECKPOINTS": "true",
    "PYTHONPATH": "/evil", "LD_PRELOAD": "/evil.so", "GITHUB_TOKEN": "secret", "DATABASE_URL": "secret",
}  # fmt: skip


def environment(**parts: dict[str, Any]) -> Environment:
    base: dict[str, dict[str, Any]] = {
        "aws": {"account_id": ACCOUNT},
        "pulumi": {"backend_url": "s3://state", "secrets_provider": "awskms://alias/state"},
        "registry": {"url": "postgresql://db/registry"},
        "history": {"url": "s3://history"},
        "archive": {"url": "s3://archive"},
    }
    return Environment.model_validate({"name": "prod", **{k: v | parts.get(k, {}) for k, v in base.items()}})


@pytest.mark.parametrize("name", STRAY)
def test_a_stray_variable_changes_nothing(name: str) -> None:
    clean = {"PATH": "/bin", "HOME": "/home/ada", "PULUMI_ACCESS_TOKEN": "token"}

    assert child_environment(clean | {name: STRAY[name]}, environment()) == child_environment(
        clean, environment()
    )


def test_what_a_program_needs_to_run_passes() -> None:
    wanted = {
        "PATH": "/bin",
        "HOME": "/h",
        "LANG": "C",
        "HTTPS_PROXY": "http://proxy",
        "AWS_CA_BUNDLE": "/ca",
    }

    assert wanted.items() <= child_environment(wanted, environment()).items()


def test_standard_credentials_pass_where_the_profile_names_no_source() -> None:
    shell = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_PROFILE": "mine"}

    assert shell.items() <= child_environment(shell, environment()).items()


@pytest.mark.parametrize("source", [{"profile": "prod"}, {"credentials_file": "/credentials"}], ids=str)
def test_the_profiles_source_of_credentials_wins(source: dict[str, str]) -> None:
    shell = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_PROFILE": "mine"}

    child = child_environment(shell, environment(aws=source))

    assert "AWS_ACCESS_KEY_ID" not in child
    assert child.get("AWS_PROFILE") == source.get("profile")
    assert child.get("AWS_SHARED_CREDENTIALS_FILE") == source.get("credentials_file")


def test_only_the_profile_attaches_a_provider() -> None:
    local = environment(
        aws={"endpoint_url": "http://127.0.0.1:1"},
        pulumi={"attached_providers": {"aws": "127.0.0.1:4321"}},
    )

    child = child_environment({"PULUMI_DEBUG_PROVIDERS": "aws:9"}, local)

    assert child["PULUMI_DEBUG_PROVIDERS"] == "aws:4321"
    assert "PULUMI_DEBUG_PROVIDERS" not in child_environment(
        {"PULUMI_DEBUG_PROVIDERS": "aws:9"}, environment()
    )


def test_configured_endpoints_of_the_shared_aws_files_are_ignored() -> None:
    assert child_environment({}, environment())["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] == "true"
