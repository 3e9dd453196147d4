"""What HashiCorp's server is built of, for the long tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from get_vault import PACKAGE, program, vault_home, vault_version

from mutx_infra.errors import SettingsError


def test_the_version_stands_in_one_place(tmp_path: Path) -> None:
    home = vault_home({"MUTX_INFRA_CACHE": str(tmp_path)})

    assert home.parent == tmp_path / "vault"
    assert home.name.startswith(f"{vault_version()}-")
    assert program().package == PACKAGE


def test_a_module_without_the_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module x\n")

    with pytest.raises(SettingsError) as caught:
        vault_version(tmp_path / "go.mod")

    assert caught.value.code == "vault-version-missing"
