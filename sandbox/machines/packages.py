"""What is baked into the image: what the roles of the playbooks install, and what a machine here has beyond that.

The roles' own lists are read (`<role>_packages` in their vars and defaults), as `playbooks/image.yml` reads them, so
that no second list has to follow them. The list is part of the image's name, so a change of it makes another image.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

import yaml

from mutx_infra.errors import UsageError

SUITES = ("bookworm", "trixie")
"""Debian 12 and 13."""
SUITE = SUITES[0]
FAMILY = "debian"

SYSTEM = (
    "systemd", "systemd-sysv", "libpam-systemd", "dbus", "udev", "kmod", "procps", "iproute2", "iputils-ping",
    "netbase", "acl", "less", "locales", "xz-utils", "libpam-modules", "login", "passwd",
)  # fmt: skip
"""A system that starts; in a cloud its image has them before anything is baked."""
PYTHON = ("python3", "python3-apt", "python3-yaml")
"""What Ansible's modules need."""
TRIAL = ("curl", "debsums", "lynis", "netcat-openbsd", "openssl", "strace", "tcpdump", "tmux")
"""What tests and people look about with."""

IDLE_SERVICES = ("fail2ban", "postgresql", "redis-server", "squid")
"""Installed and not started at boot: the role that configures one enables it."""


def role_packages(playbooks: Traversable | None = None) -> tuple[str, ...]:
    """Return what the roles install from the distribution itself, sorted."""
    roles = (playbooks or files("mutx_infra.playbooks")) / "roles"
    found: set[str] = set()
    for role in roles.iterdir():
        for place in (role / "vars" / "main" / f"{FAMILY}.yml", role / "defaults" / "main.yml"):
            values = yaml.safe_load(place.read_text(encoding="utf-8")) if place.is_file() else None
            found.update((values or {}).get(f"{role.name}_packages", ()))
    return tuple(sorted(found))


def packages() -> tuple[str, ...]:
    """Return everything that is baked, sorted."""
    return tuple(sorted({*SYSTEM, *PYTHON, *TRIAL, *role_packages()}))


def require_suite(name: str) -> str:
    """Return the name of a Debian release that machines can be made of.

    Raises:
        UsageError: it is none (code `release-unknown`).
    """
    if name not in SUITES:
        raise UsageError(
            f"there is no release {name} for machines",
            code="release-unknown",
            remedy=f"choose one of {', '.join(SUITES)}",
        )
    return name
