from __future__ import annotations

from pathlib import Path

import pytest

from mutx_infra.errors import SettingsError
from mutx_infra.settings import current_environment_pointer, find_project, resolve_settings


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with two profiles, and a directory inside."""
    root = tmp_path / "checkout"
    (root / "environments").mkdir(parents=True)
    (root / "tenants").mkdir()
    (root / "Pulumi.yaml").touch()
    for name in ("first", "second"):
        (root / "environments" / f"{name}.yaml").touch()
    return root


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home")}


def _point(project: Path, target: str) -> None:
    pointer = current_environment_pointer(project / ".mutx")
    pointer.parent.mkdir()
    pointer.write_text(f"{target}\n")


class TestEnvironmentProfile:
    def test_the_option_wins_over_variable_and_pointer(self, project: Path, home: dict[str, str]) -> None:
        _point(project, "/elsewhere.yaml")

        settings = resolve_settings(
            {**home, "MUTX_INFRA_ENVIRONMENT": "second"}, project, environment="first"
        )

        assert settings.environment_file == project / "environments" / "first.yaml"

    def test_the_variable_wins_over_the_pointer(self, project: Path, home: dict[str, str]) -> None:
        _point(project, "/elsewhere.yaml")

        settings = resolve_settings({**home, "MUTX_INFRA_ENVIRONMENT": "second"}, project)

        assert settings.environment_file == project / "environments" / "second.yaml"

    def test_the_pointer_counts_where_nothing_was_said(self, project: Path, home: dict[str, str]) -> None:
        _point(project, "/elsewhere.yaml")

        assert resolve_settings(home, project).environment_file == Path("/elsewhere.yaml")

    def test_without_any_there_is_none_and_requiring_one_says_how_to_get_it(
        self, project: Path, home: dict[str, str]
    ) -> None:
        settings = resolve_settings(home, project)

        with pytest.raises(SettingsError) as missing:
            settings.require_environment()
        assert missing.value.code == "environment-missing"
        assert "sandbox up" in missing.value.remedy

    def test_a_profile_that_does_not_exist_is_an_error(self, project: Path, home: dict[str, str]) -> None:
        settings = resolve_settings(home, project, environment="third")

        with pytest.raises(SettingsError) as missing:
            settings.require_environment()
        assert missing.value.code == "environment-not-found"

    @pytest.mark.parametrize("said", ["first", "first.yaml"])
    def test_a_name_is_looked_up_in_the_project(self, project: Path, home: dict[str, str], said: str) -> None:
        settings = resolve_settings(home, project / "tenants", environment=said)

        assert settings.require_environment() == project / "environments" / "first.yaml"

    def test_a_path_is_taken_as_it_is(self, project: Path, home: dict[str, str]) -> None:
        path = project / "environments" / "second.yaml"

        assert resolve_settings(home, project, environment=str(path)).require_environment() == path


class TestDirectories:
    def test_state_and_cache_follow_their_variables_first(self, project: Path, home: dict[str, str]) -> None:
        said = {**home, "MUTX_INFRA_STATE": "/s", "MUTX_INFRA_CACHE": "/c", "XDG_CACHE_HOME": "/x"}

        settings = resolve_settings(said, project)

        assert (settings.state, settings.cache) == (Path("/s"), Path("/c"))

    def test_state_lies_in_the_project_from_anywhere_inside_it(
        self, project: Path, home: dict[str, str]
    ) -> None:
        assert resolve_settings(home, project / "tenants").state == project / ".mutx"

    def test_outside_a_project_state_follows_xdg_and_then_home(
        self, tmp_path: Path, home: dict[str, str]
    ) -> None:
        assert resolve_settings({**home, "XDG_STATE_HOME": "/x"}, tmp_path).state == Path("/x/mutx-infra")
        assert resolve_settings(home, tmp_path).state == tmp_path / "home/.local/state/mutx-infra"

    def test_the_cache_lies_outside_the_project(self, project: Path, home: dict[str, str]) -> None:
        assert resolve_settings({**home, "XDG_CACHE_HOME": "/x"}, project).cache == Path("/x/mutx-infra")
        assert not resolve_settings(home, project).cache.is_relative_to(project)

    def test_resolving_makes_nothing(self, tmp_path: Path, home: dict[str, str]) -> None:
        resolve_settings(home, tmp_path)

        assert list(tmp_path.iterdir()) == []

    def test_the_nearest_project_counts(self, project: Path) -> None:
        inner = project / "tenants"
        (inner / "Pulumi.yaml").touch()

        assert find_project(inner) == inner
        assert find_project(project) == project

    def test_the_platform_s_project_belongs_to_the_checkout_above_it(self, project: Path) -> None:
        inner = project / "stacks" / "platform"
        inner.mkdir(parents=True)
        (inner / "Pulumi.yaml").touch()

        assert find_project(inner) == project
