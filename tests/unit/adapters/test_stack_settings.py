"""Settings files of stacks: the profile's means, and the engine's seal keys kept, dropped or taken from the state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mutx_infra.adapters.stack_settings import restore_seal, write_stack_settings
from mutx_infra.environment import PulumiBackend

KEY = "awskms://alias/state?region=eu-west-1"
BY_KEY = {"secretsprovider": KEY, "encryptedkey": "c2VhbA=="}
BY_PASSPHRASE = {"encryptionsalt": "v1:salt"}
CLOUD = {"secrets_providers": {"type": "cloud", "state": {"url": KEY, "encryptedkey": "c2VhbA=="}}}
LOCAL = {"secrets_providers": {"type": "passphrase", "state": {"salt": "v1:salt"}}}


def a_backend(provider: str) -> PulumiBackend:
    return PulumiBackend(backend_url="s3://state", secrets_provider=provider, passphrase_file="/passphrase")


def settings_at(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("provider", "before", "kept"),
    [
        ("passphrase", BY_PASSPHRASE, BY_PASSPHRASE),
        (KEY, BY_KEY, BY_KEY),
        (KEY, BY_PASSPHRASE, {}),
        ("passphrase", BY_KEY, {}),
        ("awskms://alias/other", BY_KEY, {}),
        (KEY, {}, {}),
    ],
)
def test_seal_keys_stay_where_they_are_of_the_profile_s_provider(
    tmp_path: Path, provider: str, before: dict[str, str], kept: dict[str, str]
) -> None:
    path = tmp_path / "Pulumi.platform.yaml"
    path.write_text(yaml.safe_dump({**before, "config": {"old": 1}}), encoding="utf-8")

    write_stack_settings(path, {"aws:region": "eu-west-1"}, a_backend(provider))

    assert settings_at(path) == {**kept, "config": {"aws:region": "eu-west-1"}}


@pytest.mark.parametrize(
    ("state", "seal"),
    [(CLOUD, BY_KEY), (LOCAL, BY_PASSPHRASE), ({}, {}), ({"secrets_providers": {"type": "service"}}, {})],
    ids=["key", "passphrase", "nothing", "service"],
)
def test_settings_without_a_seal_take_it_from_the_state(
    tmp_path: Path, state: dict[str, Any], seal: dict[str, str]
) -> None:
    path = tmp_path / "Pulumi.platform.yaml"
    write_stack_settings(path, {"a": "b"}, a_backend(KEY))

    restore_seal(path, state)

    assert settings_at(path) == {**seal, "config": {"a": "b"}}


def test_a_seal_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.platform.yaml"
    path.write_text(yaml.safe_dump({"encryptionsalt": "v1:own", "config": {}}), encoding="utf-8")

    restore_seal(path, CLOUD)

    assert settings_at(path)["encryptionsalt"] == "v1:own"
