"""Where the Pulumi engine is: on PATH, in `~/.pulumi`, or in the toolkit's cache.

The PyPI package `pulumi` is the SDK only. This module finds an engine and never gets one: `make setup` does
that (tools/get_engine.py), and `doctor` shows what was looked at and why it was passed over.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mutx_infra.errors import SettingsError

MINIMUM_VERSION = (3, 259, 0)
"""What the locked SDK accepts; the major version must be the same (the SDK refuses another one)."""

LANGUAGE_HOST = "pulumi-language-python"

Source = Literal["path", "home", "cache"]

_VERSION = re.compile(r"^v?(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$")
_VERSION_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that the SDK accepts.

    Attributes:
        path: the `pulumi` executable.
        version: without a leading `v`, e.g. `3.259.0`.
        source: which place it was found in.
    """

    path: Path
    version: str
    source: Source


@dataclass(frozen=True, slots=True)
class SkippedEngine:
    """An executable that was passed over, and the reason in words."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class EngineSearch:
    """Everything a search met, up to and including the engine it chose."""

    engine: Engine | None
    skipped: tuple[SkippedEngine, ...]


def find_engine(cache: Path, path_variable: str, home: Path | None = None) -> Engine:
    """Return the first engine that the SDK accepts: PATH, then `~/.pulumi`, then the cache.

    Args:
        cache: the toolkit's cache directory (`Settings.cache`).
        path_variable: the value of PATH.
        home: the directory that holds `.pulumi`; the user's own when left out.

    Raises:
        SettingsError: there is none (`engine-missing`); the detail lists what was passed over.
    """
    search = search_engine(cache, path_variable, home)
    if search.engine is None:
        raise SettingsError(
            "no Pulumi engine was found",
            code="engine-missing",
            detail="; ".join(f"{skipped.path}: {skipped.reason}" for skipped in search.skipped),
            remedy=(
                "run `make setup` in the checkout, or install Pulumi "
                f"{_shown(MINIMUM_VERSION)} or newer (https://www.pulumi.com/docs/install/)"
            ),
        )
    return search.engine


def search_engine(cache: Path, path_variable: str, home: Path | None = None) -> EngineSearch:
    """Look as `find_engine` does, and keep the reason for each executable that was passed over."""
    skipped: list[SkippedEngine] = []
    seen: set[Path] = set()
    home = home or _own_home()
    variables = version_variables(path_variable, home)
    for path, source, known in _candidates(cache, path_variable, home):
        identity = path.resolve()
        if identity in seen:
            continue
        seen.add(identity)
        version = known or _ask_version(path, cache, variables)
        reason = _reason_against(version)
        if reason is None and version is not None:
            return EngineSearch(Engine(path, version.removeprefix("v"), source), tuple(skipped))
        skipped.append(SkippedEngine(path, reason or ""))
    return EngineSearch(None, tuple(skipped))


def has_language_host(engine: Engine, path_variable: str = "") -> bool:
    """Say whether `pulumi up` can run a Python program: the host stands beside the engine or on PATH.

    The Automation API's inline programs do without it.
    """
    beside = engine.path.resolve().with_name(LANGUAGE_HOST)
    return os.access(beside, os.X_OK) or shutil.which(LANGUAGE_HOST, path=path_variable) is not None


def cached_engine_path(cache: Path, version: str) -> Path:
    """Return where the engine of one version lies (or will lie) in the cache."""
    return cache / "pulumi" / version / "bin" / "pulumi"


def version_variables(path_variable: str, home: Path | None) -> Mapping[str, str]:
    """Return the variables for asking an engine its version: no look-up of newer releases, no account.

    PATH and HOME are passed on because version managers put a shim in front of the engine.
    """
    needed = {"PATH": path_variable, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    return needed if home is None else {**needed, "HOME": str(home)}


def _candidates(
    cache: Path, path_variable: str, home: Path | None
) -> Iterator[tuple[Path, Source, str | None]]:
    """Yield executables in order of preference, with the version where the directory's name tells it."""
    for directory in path_variable.split(os.pathsep):
        if directory and _is_program(found := Path(directory) / "pulumi"):
            yield found, "path", None
    if home is not None:
        if _is_program(found := home / ".pulumi" / "bin" / "pulumi"):
            yield found, "home", None
        yield from ((path, "home", version) for path, version in _by_version(home / ".pulumi" / "versions"))
    yield from ((path, "cache", version) for path, version in _by_version(cache / "pulumi"))


def _by_version(directory: Path) -> list[tuple[Path, str]]:
    """List `<directory>/<version>/bin/pulumi`, newest first; names that are no version are left out."""
    found = [
        (numbers, path, path.parent.parent.name)
        for path in directory.glob("*/bin/pulumi")
        if (numbers := _numbers(path.parent.parent.name)) is not None and _is_program(path)
    ]
    return [(path, name) for _, path, name in sorted(found, reverse=True)]


def _reason_against(version: str | None) -> str | None:
    if version is None:
        return "it does not run, or does not tell its version"
    numbers = _numbers(version)
    if numbers is None:
        return f"its version {version!r} cannot be read"
    if numbers[0] != MINIMUM_VERSION[0]:
        return f"version {version} is another major version than the SDK's {MINIMUM_VERSION[0]}"
    is_preview_of_minimum = numbers == MINIMUM_VERSION and "-" in version
    if numbers < MINIMUM_VERSION or is_preview_of_minimum:
        return f"version {version} is older than {_shown(MINIMUM_VERSION)}"
    return None


def _numbers(version: str) -> tuple[int, int, int] | None:
    match = _VERSION.match(version)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _shown(numbers: tuple[int, int, int]) -> str:
    return ".".join(str(number) for number in numbers)


def _ask_version(path: Path, cache: Path, variables: Mapping[str, str]) -> str | None:
    """Return what `pulumi version` says, remembered by path, time and size (asking costs 0.14 s)."""
    remembered = cache / "engine-versions.json"
    known = _read_remembered(remembered)
    status = path.stat()
    key = f"{path}:{status.st_mtime_ns}:{status.st_size}"
    if key in known:
        return known[key]
    version = _run_version(path, variables)
    # A script may be a version manager's shim: what it answers depends on more than the file itself.
    if version is not None and not _is_script(path):
        _remember(remembered, {**known, key: version})
    return version


def _run_version(path: Path, variables: Mapping[str, str]) -> str | None:
    try:
        answer = subprocess.run(
            [str(path), "version"],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return answer.stdout.strip() or None


def _read_remembered(file: Path) -> dict[str, str]:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(loaded, dict):
        return {}
    return {key: value for key, value in loaded.items() if isinstance(value, str)}


def _remember(file: Path, versions: Mapping[str, str]) -> None:
    """Write by rename, so that a reader never sees half; a cache that cannot be written costs time only."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=".engine-versions-", delete=False
        ) as draft:
            json.dump(dict(versions), draft, sort_keys=True)
        Path(draft.name).replace(file)


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


def _own_home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None
