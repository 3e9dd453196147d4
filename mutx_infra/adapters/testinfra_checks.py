"""Hosts, looked at by the compliance suites: pytest with testinfra in a child process for each host."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from mutx_infra.adapters.ansible_inventory import render_inventory
from mutx_infra.adapters.ssh_files import SshFileStore
from mutx_infra.adapters.supervised import Ended, SupervisedCommands, tool_environment
from mutx_infra.errors import OutsideError
from mutx_infra.evidence import Check
from mutx_infra.inventory import Inventory, InventoryHost
from mutx_infra.ports import HostReporter

LIMIT_S = 600.0
"""One host's time limit."""
AT_ONCE = 4
SUITE = "mutx_infra.compliance"
_TOOLS = ("mutx-infra", "pytest-testinfra", "pytest", "ansible-core")
_USABLE_STATUS = (0, 1)
"""pytest's exit status where tests ran: all passed, or some failed."""


class TestinfraAuditor:
    """`HostAuditor` by the compliance suites.

    Args:
        ssh: writes what SSH needs to reach a tenant's hosts.
        variables: the process environment, of which only named parts reach the suites.
    """

    __test__ = False  # its name begins as a test's does

    def __init__(self, ssh: SshFileStore, variables: Mapping[str, str]) -> None:
        self._ssh = ssh
        self._variables = tool_environment(variables)
        self._commands = SupervisedCommands(limit_s=LIMIT_S)

    def tools(self) -> dict[str, str]:
        """Return the versions of what was looked with."""
        return {name: version(name) for name in _TOOLS}

    def audit(self, inventory: Inventory, report: HostReporter) -> tuple[Check, ...]:
        """Return a check for every control on every host, in the inventory's order."""
        return self._each(inventory, lambda host: report.task(host.name, "look at every control", changed=0))

    def unseen(self, inventory: Inventory, reason: str) -> tuple[Check, ...]:
        """Return every control on every host as unknown; no host is asked."""
        return self._each(inventory, lambda _: None, reason)

    def _each(
        self, inventory: Inventory, tell: Callable[[InventoryHost], None], unseen: str = ""
    ) -> tuple[Check, ...]:
        ssh_config = self._ssh.prepare(inventory.tenant, inventory.ways).config
        with (
            tempfile.TemporaryDirectory(prefix="mutx-") as scratch,
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            directory = Path(scratch)
            (directory / "hosts.json").write_text(render_inventory(inventory, ssh_config), encoding="utf-8")
            (directory / "ansible.cfg").write_text(_settings(directory), encoding="utf-8")
            (directory / "pytest.ini").touch()
            found = pool.map(lambda host: self._look(directory, host, tell, unseen), inventory.hosts)
            return tuple(check for checks in found for check in checks)

    def _look(
        self, directory: Path, host: InventoryHost, tell: Callable[[InventoryHost], None], unseen: str
    ) -> list[Check]:
        tell(host)
        evidence = directory / f"{host.name}.jsonl"
        command = [
            sys.executable, "-m", "pytest", "--pyargs", SUITE, "--quiet", "--no-header", "--tb=no",
            "-c", str(directory / "pytest.ini"), "--rootdir", str(directory), "-p", "no:cacheprovider",
            f"--hosts=ansible://{host.name}", f"--ansible-inventory={directory / 'hosts.json'}",
            f"--evidence={evidence}", *([f"--unseen={host.role}:{unseen}"] if unseen else []),
        ]  # fmt: skip
        ended = self._commands.run(command, str(directory), self._environment(directory))
        if ended.status not in _USABLE_STATUS or not evidence.is_file():
            raise _failure(host, ended)
        found = [Check.model_validate_json(line) for line in evidence.read_text("utf-8").splitlines()]
        return sorted(found, key=lambda check: check.control)

    def _environment(self, directory: Path) -> dict[str, str]:
        return {
            **self._variables,
            "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
            "ANSIBLE_HOME": str(directory / "ansible"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def _settings(directory: Path) -> str:
    """Return the settings that testinfra takes from Ansible's file: one connection a host, kept open.

    `%%` is a percent sign: testinfra reads the file with interpolation.
    """
    return (
        "[ssh_connection]\n"
        f"ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o ControlPath={directory}/%%C\n"
    )


def _failure(host: InventoryHost, ended: Ended) -> OutsideError:
    said = [line for line in f"{ended.stdout}\n{ended.stderr}".splitlines() if line.strip()]
    return OutsideError(
        f"the compliance suites could not be run on {host.name} (pytest ended with {ended.status})",
        code="suites-failed",
        remedy="mend what is said above, then run the same command",
        detail="\n".join(line[:300] for line in said[-8:]),
    )
