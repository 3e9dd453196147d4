"""What the provider of the control plane's tests is made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from get_oidc_provider import MODULE, ensure_provider, provider_home, provider_version

from mutx_infra.errors import OutsideError, SettingsError


def test_the_version_stands_in_one_place(tmp_path: Path) -> None:
    home = provider_home({"MUTX_INFRA_CACHE": str(tmp_path)})

    assert home.parent == tmp_path / "oidc-provider"
    assert home.name.startswith(f"{provider_version()}-")


def test_the_lock_file_has_that_version_and_a_hash_of_each_package() -> None:
    packages = json.loads((MODULE / "package-lock.json").read_text())["packages"]
    fetched = {name: each for name, each in packages.items() if name}

    assert fetched["node_modules/oidc-provider"]["version"] == provider_version()
    assert all(each["integrity"].startswith("sha512-") for each in fetched.values())
    assert not any("resolved" in each for each in fetched.values())  # wherever the reader's npm gets them


def test_without_npm_it_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    variables = {"MUTX_INFRA_CACHE": str(tmp_path), "PATH": str(tmp_path)}

    with pytest.raises(SettingsError) as caught:
        ensure_provider(variables)

    assert caught.value.code == "npm-missing"
    assert not provider_home(variables).exists()


def test_an_npm_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'no such package' >&2\nexit 1\n")
    npm.chmod(0o755)
    variables = {"MUTX_INFRA_CACHE": str(tmp_path / "cache"), "PATH": str(tmp_path)}

    with pytest.raises(OutsideError) as caught:
        ensure_provider(variables)

    assert (caught.value.code, caught.value.detail) == ("npm-failed", "no such package")
    assert not provider_home(variables).exists()
