"""What tailscaled and the coordination server are built of."""

from __future__ import annotations

from pathlib import Path

import pytest
from get_tailnet import MODULE, programs, tailnet_home, tailscale_version

from mutx_infra.errors import SettingsError


def test_the_version_stands_in_one_place(tmp_path: Path) -> None:
    home = tailnet_home({"MUTX_INFRA_CACHE": str(tmp_path)})

    assert home.parent == tmp_path / "tailnet"
    assert home.name.startswith(f"{tailscale_version()}-")
    assert f"longStamp={tailscale_version()}" in " ".join(programs()[0].flags)


def test_a_module_without_the_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module x\n")

    with pytest.raises(SettingsError) as caught:
        tailscale_version(tmp_path / "go.mod")

    assert caught.value.code == "tailnet-version-missing"


def test_the_servers_source_is_in_the_module() -> None:
    assert [Path(program.package).name for program in programs()] == ["tailscaled", "coordination"]
    assert (MODULE / programs()[1].package / "main.go").is_file()
