"""Explicit providers in a state: a refresh uses the settings recorded there, which a rotated external id made useless.

So the recorded settings are brought up to the config before anything refreshes; the program would write the same.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from mutx_infra.naming import ARCHIVE_ROLE_CONFIG, PLATFORM_PROJECT, SESSION_NAME

Deployment = dict[str, Any]

_PROVIDER = "pulumi:providers:aws"


def with_current_providers(deployment: Deployment, config: Mapping[str, object]) -> Deployment:
    """Return the state whose archive provider enters its account as the config says; the same one where it does.

    Args:
        deployment: the stack's state; it is not changed.
        config: the stack's config (`stack_settings.stack_config`).
    """
    role = config.get(f"{PLATFORM_PROJECT}:{ARCHIVE_ROLE_CONFIG}")
    if not isinstance(role, Mapping):
        return deployment
    wanted: dict[str, object] = {"assumeRoles": [{**role, "sessionName": SESSION_NAME}]}
    wanted |= {name: config[f"aws:{name}"] for name in ("endpoints", "profile") if f"aws:{name}" in config}
    stale = [
        number
        for number, resource in enumerate(deployment.get("resources") or [])
        if _enters(resource, str(role["roleArn"])) and not _says(resource, wanted)
    ]
    if not stale:
        return deployment
    current = copy.deepcopy(deployment)
    for number in stale:
        for side in ("inputs", "outputs"):
            current["resources"][number].setdefault(side, {}).update(
                {
                    name: value if isinstance(value, str) else json.dumps(value)
                    for name, value in wanted.items()
                }
            )
    return current


def _enters(resource: Mapping[str, Any], role_arn: str) -> bool:
    """Say whether a resource is a provider that is pinned to the role's account."""
    if resource["type"] != _PROVIDER:
        return False
    allowed = _parsed((resource.get("inputs") or {}).get("allowedAccountIds"))
    return allowed == [role_arn.split(":")[4]] and "assumeRoles" in resource["inputs"]


def _says(resource: Mapping[str, Any], wanted: Mapping[str, object]) -> bool:
    return all(_parsed(resource["inputs"].get(name)) == value for name, value in wanted.items())


def _parsed(value: object) -> object:
    """Return a provider's setting, which a state holds as JSON text."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        return json.loads(value)
    return value
