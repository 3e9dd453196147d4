"""A stack's settings file: the provider's settings from the environment profile, and the engine's seal keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mutx_infra.environment import Environment, PulumiBackend, TenantRole
from mutx_infra.naming import ARCHIVE_ROLE_CONFIG, SESSION_NAME, project_of, role_arn
from mutx_infra.plan import TenantPlan

_SERVICES = ("ec2", "iam", "kms", "logs", "s3", "sts")
PASSPHRASE = "passphrase"  # noqa: S105 - the name of a secrets provider


def stack_config(environment: Environment, plan: TenantPlan) -> dict[str, object]:
    """Return the provider's settings; the account pin makes the provider itself refuse a wrong account."""
    aws = environment.aws
    config: dict[str, object] = {"aws:region": plan.region, "aws:allowedAccountIds": [plan.account]}
    if aws.tenant_role is not None and plan.account != aws.account_id:
        entered = _entry(aws.tenant_role, plan.account, plan.region)
        config["aws:assumeRoles"] = [{**entered, "sessionName": SESSION_NAME}]
    if aws.tenant_role is not None and plan.archive_account != plan.account:
        key = f"{project_of(plan.tenant)}:{ARCHIVE_ROLE_CONFIG}"
        config[key] = _entry(aws.tenant_role, plan.archive_account, plan.region)
    if aws.profile is not None:
        config["aws:profile"] = aws.profile
    if aws.endpoint_url is not None:
        config["aws:endpoints"] = [dict.fromkeys(_SERVICES, aws.endpoint_url)]
    return config


def write_stack_settings(path: Path, config: Mapping[str, object], backend: PulumiBackend) -> None:
    """Write the stack's settings directly (one `pulumi config set` costs 0.1 s), keeping the engine's seal keys.

    Keys of another secrets provider than the profile's are dropped: the engine then takes those of the state.
    """
    before: dict[str, object] = {}
    if path.is_file():
        before = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    write_yaml(path, {**_seal(before, backend.secrets_provider), "config": dict(config)})


def restore_seal(path: Path, deployment: Mapping[str, Any]) -> None:
    """Write the seal keys of a state into settings that have none, as on a machine that did not make the stack.

    The engine's `up` does not look for them in the state: it would ask for a passphrase.
    """
    settings: dict[str, object] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "encryptionsalt" in settings or "encryptedkey" in settings:
        return
    provider = deployment.get("secrets_providers") or {}
    state = provider.get("state") or {}
    seal: dict[str, object] = {}
    if provider.get("type") == PASSPHRASE and state.get("salt"):
        seal = {"encryptionsalt": state["salt"]}
    elif state.get("url") and state.get("encryptedkey"):
        seal = {"secretsprovider": state["url"], "encryptedkey": state["encryptedkey"]}
    if seal:
        write_yaml(path, {**settings, **seal})


def _seal(before: Mapping[str, object], provider: str) -> dict[str, object]:
    kept: tuple[str, ...] = ()
    if provider == PASSPHRASE and "secretsprovider" not in before:
        kept = ("encryptionsalt",)
    if provider != PASSPHRASE and before.get("secretsprovider") == provider:
        kept = ("secretsprovider", "encryptedkey")
    return {key: before[key] for key in kept if key in before}


def write_yaml(path: Path, content: Mapping[str, object]) -> None:
    """Write a file whole or not at all; unchanged content is not rewritten."""
    text = yaml.safe_dump(dict(content), sort_keys=True)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _entry(role: TenantRole, account: str, region: str) -> dict[str, str]:
    """Return how an account is entered, in the words of the provider's config."""
    return {"roleArn": role_arn(account, role.name, region), "externalId": role.external_id}
