"""The archive provider's recorded settings follow the config, so that a refresh can enter the account at all."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from mutx_infra.adapters.provider_state import with_current_providers

ARCHIVE = "310987654321"
ROLE = {"roleArn": f"arn:aws:iam::{ARCHIVE}:role/mutx-deploy", "externalId": "new"}
CONFIG = {"mutx-platform:archiveRole": ROLE, "aws:region": "eu-west-1", "aws:profile": "production"}


def a_provider(external_id: str, account: str = ARCHIVE, profile: str = "production") -> dict[str, Any]:
    entered = {**ROLE, "externalId": external_id, "sessionName": "mutx-infra"}
    inputs = {
        "region": "eu-west-1",
        "allowedAccountIds": json.dumps([account]),
        "assumeRoles": json.dumps([entered]),
        "profile": profile,
    }
    return {"type": "pulumi:providers:aws", "inputs": inputs, "outputs": dict(inputs)}


def a_state(*providers: dict[str, Any]) -> dict[str, Any]:
    return {"resources": [{"type": "aws:kms/key:Key", "inputs": {}}, *providers]}


def test_a_rotated_external_id_is_brought_into_the_state() -> None:
    state = a_state(a_provider("old"))
    before = copy.deepcopy(state)

    current = with_current_providers(state, CONFIG)

    for side in ("inputs", "outputs"):
        assert json.loads(current["resources"][1][side]["assumeRoles"])[0]["externalId"] == "new"
    assert state == before


def test_another_profile_is_brought_into_the_state() -> None:
    current = with_current_providers(a_state(a_provider("new", profile="former")), CONFIG)

    assert current["resources"][1]["inputs"]["profile"] == "production"


@pytest.mark.parametrize(
    ("state", "config"),
    [
        (a_state(a_provider("new")), CONFIG),
        (a_state(a_provider("old", account="210987654321")), CONFIG),
        (a_state(a_provider("old")), {"aws:region": "eu-west-1"}),
        (a_state(), CONFIG),
        ({}, CONFIG),
    ],
    ids=["current", "of another account", "no role in the config", "no provider", "empty"],
)
def test_a_state_that_needs_nothing_stays_the_very_same(
    state: dict[str, Any], config: dict[str, object]
) -> None:
    assert with_current_providers(state, config) is state
