"""What this machine must have to run machines: commands by the Debian package they come in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mutx_infra.errors import OutsideError, RefusedError, SettingsError

NETWORK = {"ip": "iproute2", "unshare": "util-linux", "mount": "util-linux", "ssh-keygen": "openssh-client"}
BUILD = {"mmdebstrap": "mmdebstrap", "setpriv": "util-linux", "chroot": "coreutils"}
CONTAINER = {"systemd-nspawn": "systemd-container"}
USER_MODE = {"linux.uml": "user-mode-linux"}
EMULATOR = {"qemu-system-x86_64": "qemu-system-x86"}

_SEARCH = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Beside PATH, which for people other than root often lacks them."""
_INSTALL_LIMIT_S = 900

Which = Callable[[str], "str | None"]


def which(command: str, search: str | None = None) -> str | None:
    """Return where a command lies; PATH first, then the directories of the administrator."""
    path = os.pathsep.join([search if search is not None else os.environ.get("PATH", os.defpath), *_SEARCH])
    return shutil.which(command, path=path)


def missing_packages(needed: Mapping[str, str], find: Which = which) -> tuple[str, ...]:
    """Return the packages whose commands are not here, sorted."""
    return tuple(sorted({package for command, package in needed.items() if find(command) is None}))


def require_root(uid: int | None = None) -> None:
    """Refuse to go on where namespaces, mounts and bridges cannot be made.

    Raises:
        RefusedError: the caller is not root (code `root-needed`).
    """
    if (os.geteuid() if uid is None else uid) != 0:
        raise RefusedError(
            "machines need root: they are made of namespaces, mounts and bridges",
            code="root-needed",
            remedy="run the same command as root, e.g. with `sudo -E`",
        )


def ensure_tools(needed: Mapping[str, str], say: Callable[[str], None], find: Which = which) -> None:
    """Install what is missing, from the sources that this machine's apt is set up with.

    Raises:
        SettingsError: packages are missing, and this machine has no apt-get (code `tools-missing`).
        OutsideError: apt-get could not install them (code `tools-not-installed`).
    """
    missing = missing_packages(needed, find)
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if find("apt-get") is None:
        raise SettingsError(
            f"packages are missing: {', '.join(missing)}",
            code="tools-missing",
            remedy="install Debian's packages of these names, or what your distribution calls them",
        )
    say(f"installing {', '.join(missing)} ...")
    refresh_lists()
    _run_apt(command)
    still = missing_packages(needed, find)
    if still:
        raise OutsideError(
            f"apt-get installed {', '.join(still)}, but the commands are not there",
            code="tools-not-installed",
            remedy=f"run `{' '.join(command)}` and look for what it says",
        )


def refresh_lists() -> None:
    """Fetch apt's package lists: a fresh machine has none, and old ones name files that are gone."""
    _run_apt(["apt-get", "update"])


def needed_by(kinds: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Join several kinds of needs."""
    return {command: package for kind in kinds for command, package in kind.items()}


def _run_apt(command: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_INSTALL_LIMIT_S, check=False, cwd=Path("/"),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise _apt_failed(command, str(exc)) from exc
    if done.returncode != 0:
        raise _apt_failed(command, "\n".join(done.stderr.splitlines()[-5:]))


def _apt_failed(command: list[str], detail: str) -> OutsideError:
    return OutsideError(
        f"`{' '.join(command)}` failed",
        code="tools-not-installed",
        remedy="see that apt's sources can be reached, then run the same command again",
        detail=detail,
    )
