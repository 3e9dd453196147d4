"""Hosts, brought up to the playbooks by ansible-runner: supervised, in a directory that is gone afterwards."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from mutx_infra.adapters.ansible_events import EventCollector
from mutx_infra.adapters.ansible_inventory import render_inventory
from mutx_infra.adapters.ssh_files import SshFileStore
from mutx_infra.adapters.supervised import GRACE_S, SupervisedCommands, is_at_work, tool_environment
from mutx_infra.errors import OutsideError, SettingsError
from mutx_infra.host_records import Configured
from mutx_infra.inventory import Inventory
from mutx_infra.ports import HostReporter

LIMIT_S = 3600.0
"""One run's time limit."""
PLAYBOOK = "provision.yml"
FORKS = 10
KEPT_RUNS = 20
VARIABLES = ("group_vars", "host_vars")
_IDENT = "run"
_SETTINGS = {
    # Neither other kinds of inventories nor collections are looked for: 0.3 s of each run.
    "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
    "ANSIBLE_INVENTORY_ENABLED": "yaml",
    "ANSIBLE_FORCE_COLOR": "false",
    "ANSIBLE_GATHER_TIMEOUT": "20",
    "ANSIBLE_HOST_KEY_CHECKING": "true",
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_PIPELINING": "true",
    "ANSIBLE_RETRY_FILES_ENABLED": "false",
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=5 -o ServerAliveCountMax=3",
    "ANSIBLE_TIMEOUT": "20",
}


class AnsibleHosts:
    """`HostConfigurer` by ansible-runner.

    Args:
        ssh: writes what SSH needs to reach a tenant's hosts.
        variables: the process environment, of which only named parts reach Ansible.
        state: the toolkit's state directory, below which runs leave what they printed.
        environment: the environment profile's name.
        sleep: waits.
        told: a directory with `group_vars` and `host_vars` of the operator's; None for none.
    """

    def __init__(
        self,
        ssh: SshFileStore,
        variables: Mapping[str, str],
        state: Path,
        environment: str,
        sleep: Callable[[float], None],
        told: Path | None = None,
    ) -> None:
        self._ssh, self._sleep, self._told = ssh, sleep, told
        self._variables = tool_environment(variables)
        self._root = state / "hosts" / environment
        self._commands = SupervisedCommands(limit_s=LIMIT_S)

    def guard(self, silence_s: float) -> AbstractContextManager[Callable[[], None]]:
        """Bind Ansible to a lease: it ends unless the yielded function is called every `silence_s`."""
        return self._commands.bound_to_lease(silence_s)

    def await_quiet(self, tenant: str) -> None:
        """Wait until the supervisor of a dead process has ended its Ansible; it needs `GRACE_S` at most."""
        deadline = time.monotonic() + GRACE_S + 5
        while time.monotonic() < deadline and is_at_work(str(self._root / tenant)):
            self._sleep(0.2)

    def configure(self, inventory: Inventory, report: HostReporter, *, check: bool, diff: bool) -> Configured:
        """Run the playbooks on every host of the inventory."""
        begun = time.monotonic()
        ssh_config = self._ssh.prepare(inventory.tenant, inventory.ways).config
        collector = EventCollector((host.name for host in inventory.hosts), report, diff=diff)
        with self._run_directory(inventory.tenant) as directory, _socket_directory() as sockets:
            hosts = directory / "inventory" / "hosts.json"
            hosts.parent.mkdir()
            hosts.write_text(render_inventory(inventory, ssh_config), encoding="utf-8")
            if self._told is not None:
                put_beside(hosts, self._told)
            command = _command(directory, check=check, diff=diff)
            ended = self._commands.run(
                command, str(directory), self._environment(directory, sockets), collector
            )
            kept = self._keep(directory, inventory.tenant)
        if not collector.is_complete:
            said = [line for line in (*collector.noise, *ended.stderr.splitlines()) if line.strip()]
            raise OutsideError(
                f"the playbooks of {inventory.tenant} ended without a result (status {ended.status})",
                code="playbooks-failed",
                remedy="mend what is said above, then run the same command"
                + (f"; all that was printed is in {kept}" if kept.is_file() else ""),
                detail="\n".join(line[:300] for line in said[-8:]),
            )
        return Configured(
            hosts=collector.outcomes(), duration_s=time.monotonic() - begun, artifacts=str(kept)
        )

    def _environment(self, directory: Path, sockets: Path) -> dict[str, str]:
        return {
            **self._variables,
            **_SETTINGS,
            "ANSIBLE_HOME": str(directory / "ansible"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
            "ANSIBLE_LOCAL_TEMP": str(directory / "tmp"),
        }

    @contextmanager
    def _run_directory(self, tenant: str) -> Iterator[Path]:
        """Make ansible-runner's directory anew for each run, since it keeps settings of earlier ones; remove it."""
        home = self._root / tenant
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in home.glob("run-*"):
            if not is_at_work(str(left)):  # a process that was killed left it
                shutil.rmtree(left, ignore_errors=True)
        directory = Path(tempfile.mkdtemp(prefix="run-", dir=home))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _keep(self, directory: Path, tenant: str) -> Path:
        """Move what Ansible printed to where an operator finds it; its event files hold whole results, so they go."""
        printed = directory / "artifacts" / _IDENT / "stdout"
        runs = self._root / tenant / "runs"
        runs.mkdir(exist_ok=True, mode=0o700)
        kept = runs / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.log"
        if printed.is_file():
            printed.replace(kept)
            kept.chmod(0o600)
        for old in sorted(runs.glob("*.log"))[:-KEPT_RUNS]:
            old.unlink(missing_ok=True)
        return kept


def put_beside(hosts: Path, told: Path) -> None:
    """Let Ansible find an operator's variables beside an inventory.

    Raises:
        SettingsError: there is no such directory, or it has neither `group_vars` nor `host_vars`.
    """
    found = [name for name in VARIABLES if (told / name).is_dir()]
    if not found:
        raise SettingsError(
            f"{told} has no {' and no '.join(VARIABLES)}",
            code="hosts-variables-missing",
            remedy="make it, or take `hosts.variables` out of the profile",
        )
    for name in found:
        (hosts.parent / name).symlink_to((told / name).resolve(), target_is_directory=True)


@contextmanager
def _socket_directory() -> Iterator[Path]:
    """Make a directory with a short name: a socket's path may have 107 characters, and ssh adds 40 to it."""
    directory = Path(tempfile.mkdtemp(prefix="mutx-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _command(directory: Path, *, check: bool, diff: bool) -> list[str]:
    options = [option for option, wanted in (("--check", check), ("--diff", diff)) if wanted]
    extra = [f"--cmdline={' '.join(options)}"] if options else []
    return [
        sys.executable, "-m", "ansible_runner", "run", str(directory),
        "--playbook", PLAYBOOK, "--project-dir", str(files("mutx_infra.playbooks")),
        "--inventory", str(directory / "inventory"), "--ident", _IDENT, "--json", "--omit-env-files",
        "--forks", str(FORKS), *extra,
    ]  # fmt: skip
