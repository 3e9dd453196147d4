"""Where the toolkit keeps its own files, and which environment profile it uses.

Precedence everywhere: option, then `MUTX_INFRA_*` variable, then profile, then default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mutx_infra.errors import SettingsError
from mutx_infra.naming import PLATFORM_PROJECT, PROJECT, TAILNET_PROJECT

STATE_VARIABLE = "MUTX_INFRA_STATE"
ENVIRONMENT_VARIABLE = "MUTX_INFRA_ENVIRONMENT"
CACHE_VARIABLE = "MUTX_INFRA_CACHE"
PROJECT_FILE = "Pulumi.yaml"
PROJECT_DIRECTORIES = {PROJECT: ".", PLATFORM_PROJECT: "stacks/platform", TAILNET_PROJECT: "stacks/tailnet"}
"""Where in a checkout each Pulumi project has its file; the tenants' is the checkout's own."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Resolved once per process, in `bootstrap`.

    Attributes:
        state: directory for work files, journal and pointers; created with mode 0700 on first use.
        cache: directory for what is slow to get and safe to share between checkouts (the Pulumi engine).
        project: the checkout (nearest ancestor with a Pulumi.yaml), or None outside of one.
        environment_file: the environment profile in force, or None where none was chosen.
    """

    state: Path
    cache: Path
    project: Path | None
    environment_file: Path | None

    def require_environment(self) -> Path:
        """Return the profile's path.

        Raises:
            SettingsError: no profile was chosen, or the chosen one does not exist.
        """
        if self.environment_file is None:
            raise SettingsError(
                "no environment is chosen",
                code="environment-missing",
                remedy="run `mutx-infra sandbox up` for a local one, or name a profile with `--environment FILE`",
            )
        if not self.environment_file.is_file():
            raise SettingsError(
                f"the environment profile {self.environment_file} does not exist",
                code="environment-not-found",
                remedy="check `--environment` and MUTX_INFRA_ENVIRONMENT, or run `mutx-infra sandbox up`",
            )
        return self.environment_file


def resolve_settings(
    variables: Mapping[str, str], directory: Path, *, environment: str | None = None
) -> Settings:
    """Build the settings from the process environment and the current directory.

    Args:
        variables: the process environment (only `bootstrap` passes the real one).
        directory: the current directory.
        environment: value of `--environment`: a profile's path, or the name of a file in `environments/`.
    """
    project = find_project(directory)
    state = state_directory(variables, directory)
    chosen = environment or variables.get(ENVIRONMENT_VARIABLE)
    return Settings(
        state=state,
        cache=cache_directory(variables),
        project=project,
        environment_file=_profile_path(chosen, project) if chosen else _current_profile(state),
    )


def state_directory(variables: Mapping[str, str], directory: Path) -> Path:
    """Return where this invocation keeps its state: `MUTX_INFRA_STATE`, else `.mutx` in the project, else XDG."""
    if explicit := variables.get(STATE_VARIABLE):
        return Path(explicit).expanduser().resolve()
    project = find_project(directory)
    if project is not None:
        return project / ".mutx"
    base = variables.get("XDG_STATE_HOME") or str(_home(variables) / ".local" / "state")
    return Path(base) / "mutx-infra"


def cache_directory(variables: Mapping[str, str]) -> Path:
    """Return the cache directory: `MUTX_INFRA_CACHE`, else `$XDG_CACHE_HOME/mutx-infra`, else `~/.cache/mutx-infra`."""
    if explicit := variables.get(CACHE_VARIABLE):
        return Path(explicit).expanduser().resolve()
    base = variables.get("XDG_CACHE_HOME") or str(_home(variables) / ".cache")
    return Path(base) / "mutx-infra"


def find_project(directory: Path) -> Path | None:
    """Return the nearest ancestor of `directory` (itself included) that holds a checkout's Pulumi.yaml, or None.

    Those below `stacks/`, the platform's and the tailnet's, belong to the checkout above them.
    """
    inner = [Path(place).parts for name, place in PROJECT_DIRECTORIES.items() if name != PROJECT]
    for candidate in (directory, *directory.parents):
        is_inner = any(candidate.parts[-len(parts) :] == parts for parts in inner)
        if (candidate / PROJECT_FILE).is_file() and not is_inner:
            return candidate
    return None


def current_environment_pointer(state: Path) -> Path:
    """Return the file whose only line names the profile in force when none was said (`sandbox up` writes it)."""
    return state / "environment"


def _current_profile(state: Path) -> Path | None:
    pointer = current_environment_pointer(state)
    if not pointer.is_file():
        return None
    return Path(pointer.read_text(encoding="utf-8").strip())


def _profile_path(chosen: str, project: Path | None) -> Path:
    direct = Path(chosen).expanduser()
    if project is not None and not direct.is_file() and "/" not in chosen:
        return project / "environments" / f"{chosen.removesuffix('.yaml')}.yaml"
    return direct.resolve()


def _home(variables: Mapping[str, str]) -> Path:
    return Path(variables["HOME"]) if variables.get("HOME") else Path.home()
