"""Where the tools may write."""

from __future__ import annotations

import pytest
from places import with_home, writable

from mutx_infra.errors import SettingsError


@pytest.mark.parametrize("variables", [{}, {"HOME": ""}], ids=["unset", "empty"])
def test_a_missing_home_is_looked_up(variables):
    assert with_home(variables)["HOME"].startswith("/")


def test_caches_of_the_tools_go_to_ours_where_home_cannot_be_written(tmp_path):
    cache = tmp_path / "cache"

    made = with_home({"HOME": str(tmp_path / "missing"), "MUTX_INFRA_CACHE": str(cache), "GOCACHE": "/mine"})

    assert made["UV_CACHE_DIR"] == str(cache / "uv")
    assert made["GOCACHE"] == "/mine"


def test_a_home_that_can_be_written_is_left_alone(tmp_path):
    assert with_home({"HOME": str(tmp_path)}) == {"HOME": str(tmp_path)}


def test_a_directory_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError) as raised:
        writable(tmp_path / "file" / "cache")

    assert raised.value.code == "cache-unwritable"
    assert "MUTX_INFRA_CACHE" in raised.value.remedy
