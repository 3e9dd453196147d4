"""Directories that the set-up tools write to, and what to say when they cannot. Standard library only."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mutx_infra.errors import SettingsError
from mutx_infra.settings import CACHE_VARIABLE, cache_directory


def with_home(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with a HOME, and with the tools' caches in ours where HOME cannot be written.

    Raises:
        SettingsError: neither HOME nor MUTX_INFRA_CACHE says where to put things (`home-missing`).
    """
    mine = dict(variables)
    mine["HOME"] = variables.get("HOME") or _own_home(variables)
    if not os.access(mine["HOME"], os.W_OK):
        cache = cache_directory(mine)
        for name, directory in (("UV_CACHE_DIR", "uv"), ("GOCACHE", "go-build"), ("GOPATH", "go")):
            mine.setdefault(name, str(cache / directory))
    return mine


def writable(directory: Path) -> Path:
    """Return a directory that was made if need be and can be written.

    Raises:
        SettingsError: it cannot (`cache-unwritable`).
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except OSError as error:
        raise SettingsError(
            f"the cache directory {directory} cannot be written",
            code="cache-unwritable",
            detail=error.strerror or str(error),
            remedy=f"set {CACHE_VARIABLE} to a directory that can be written",
        ) from error


def _own_home(variables: Mapping[str, str]) -> str:
    """Return the home directory of this process's user, as the system's user table has it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        if explicit := variables.get(CACHE_VARIABLE):
            return explicit
        raise SettingsError(
            "HOME is not set, and this user has no home directory",
            code="home-missing",
            remedy=f"set HOME, or {CACHE_VARIABLE} to a directory that can be written",
        ) from None
