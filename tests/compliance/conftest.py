"""What the suites see of a host, each read once a module; all of it over testinfra, nothing written."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from mutx_infra.compliance.plugin import require_role

Host: TypeAlias = Any
"""testinfra's `Host`, whose modules are made at run time."""


@dataclass(frozen=True)
class Settings:
    """Settings by lower-case name, as `sshd -T` prints them; one that stands several times has several values."""

    values: dict[str, list[str]]

    def one(self, name: str) -> str:
        """Return a setting's value; "" where there is none."""
        return " ".join(self.values.get(name, []))

    def listed(self, name: str) -> list[str]:
        """Return the parts of a comma-separated setting."""
        return [part for part in self.one(name).split(",") if part]


@dataclass(frozen=True)
class Unit:
    """A systemd unit."""

    enabled: str
    active: str

    def __str__(self) -> str:
        return f"{self.enabled}, {self.active}"

    @property
    def runs_from_boot(self) -> bool:
        """True where it runs now and will after a reboot."""
        return self.enabled in {"enabled", "static", "alias"} and self.active == "active"


@pytest.fixture(scope="module")
def variables(host: Host, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The host's variables in the inventory; {} where the hosts were named without one."""
    inventory = request.config.getoption("ansible_inventory")
    if not inventory:
        return {}
    from testinfra.utils.ansible_runner import AnsibleRunner  # noqa: PLC0415 - 0.1 s for those who have none

    name = host.backend.get_pytest_id().rpartition("://")[2]
    found: dict[str, Any] = AnsibleRunner.get_runner(inventory).get_variables(name)
    return found


@pytest.fixture(scope="module")
def role(variables: dict[str, Any]) -> str:
    """The host's role; "" where the inventory does not say."""
    return str(variables.get("mutx_role", ""))


@pytest.fixture(scope="module", autouse=True)
def _suite_for_its_roles_only(request: pytest.FixtureRequest, role: str) -> None:
    """Before what a suite asks once of every host, which another role's hosts could not answer."""
    require_role(request.node.get_closest_marker("roles"), role)


@pytest.fixture(autouse=True)
def _for_its_roles_only(request: pytest.FixtureRequest, role: str) -> None:
    require_role(request.node.get_closest_marker("roles"), role)


@pytest.fixture(scope="module")
def sshd(host: Host) -> Settings:
    """What sshd does, for a stranger: its effective configuration."""
    text = host.check_output("sshd -T -C user=root,host=stranger,addr=203.0.113.1")
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        values.setdefault(name.lower(), []).append(value)
    return Settings(values)


@pytest.fixture(scope="module")
def unit(host: Host) -> Callable[[str], Unit]:
    """Look at a systemd unit by name."""

    def look(name: str) -> Unit:
        quoted = shlex.quote(name)
        enabled = host.run(f"systemctl is-enabled {quoted}").stdout.strip() or "unknown"
        active = host.run(f"systemctl is-active {quoted}").stdout.strip() or "unknown"
        return Unit(enabled, active)

    return look


@pytest.fixture(scope="module")
def sysctl(host: Host) -> Callable[[str], str]:
    """Look at a kernel parameter by its dotted name; "" where the kernel has none of that name."""
    values = dict(
        line.partition(" = ")[::2]
        for line in host.run("sysctl -a 2>/dev/null").stdout.splitlines()
        if " = " in line
    )
    return lambda name: str(values.get(name, ""))


@pytest.fixture(scope="module")
def has_own_kernel(host: Host) -> bool:
    """False in a container, whose kernel is its host's: what is set there is nothing that the host decides."""
    return bool(host.run("systemd-detect-virt --container --quiet").rc != 0)
