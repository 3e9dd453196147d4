"""The sandbox's life: its processes, what they are told, and the files that name them.

moto keeps its cloud in memory, and the coordination server its tailnet. So a sandbox whose processes are gone has lost
both, and everything that describes them (stack state, registry) is removed with them rather than left to contradict the
next one.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import yaml
from mutx_sandbox.accounts import ARCHIVE_ACCOUNT, EXTERNAL_ID, ROLE
from mutx_sandbox.buckets import ARCHIVE_BUCKET, ARCHIVE_REGION, HISTORY_BUCKET, HISTORY_REGION
from mutx_sandbox.machines.life import Machines
from mutx_sandbox.machines.places import host_access, machines_folder
from mutx_sandbox.private_files import write_private
from mutx_sandbox.processes import module_command
from mutx_sandbox.tailnet import SandboxTailnet
from mutx_sandbox.vault import vault_access
from pydantic import BaseModel, ConfigDict

from mutx_infra.errors import OutsideError, RefusedError
from mutx_infra.settings import current_environment_pointer

ACCOUNT_ID = "123456789012"
"""The account that moto answers with."""
READY_WITHIN_S = 90.0
PROVIDER = "aws_provider"
COORDINATION, TAILNET_PROVIDER = "tailnet", "tailscale_provider"
_REPLACEABLE = frozenset({PROVIDER, TAILNET_PROVIDER})
"""Processes that keep nothing that their successors would lack."""

_started_here: dict[int, subprocess.Popen[bytes]] = {}
"""Daemons that this very process started: whoever ends one of them must fetch its exit status."""


class SandboxProcess(BaseModel):
    """One of the sandbox's processes; its start time (clock ticks since boot) tells it from a later one's pid."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    started: int
    port: int
    more_ports: tuple[int, ...] = ()

    @property
    def is_alive(self) -> bool:
        """True while this very process runs."""
        return _started(self.pid) == self.started

    @property
    def program(self) -> Path:
        """The file that it runs; it is alive."""
        return Path(f"/proc/{self.pid}/exe").readlink()


class Record(BaseModel):
    """What `sandbox.json` holds."""

    model_config = ConfigDict(frozen=True)

    started_at: datetime
    boot_id: str
    processes: tuple[SandboxProcess, ...]
    versions: dict[str, str] = {}
    follows: bool = False
    """Whether machines come and go with the tenants' hosts."""

    @property
    def is_up(self) -> bool:
        """True while every process runs, since the same boot."""
        return not self.ended

    @property
    def ended(self) -> tuple[str, ...]:
        """Names of the processes that no longer run; all of them after a reboot."""
        same_boot = self.boot_id == _boot_id()
        return tuple(process.name for process in self.processes if not (same_boot and process.is_alive))

    @property
    def endpoints(self) -> dict[str, str]:
        """Where the sandbox is reached, by name."""
        found = {
            "aws": f"http://127.0.0.1:{self.port_of('aws')}",
            "aws_provider": f"127.0.0.1:{self.port_of(PROVIDER)}",
        }
        if self.has_tailnet:
            found |= {
                "tailscale_api": f"http://127.0.0.1:{self.port_of(COORDINATION)}",
                "tailscale_login": f"http://127.0.0.1:{self.process(COORDINATION).more_ports[0]}",
                "tailscale_provider": f"127.0.0.1:{self.port_of(TAILNET_PROVIDER)}",
            }
        return found

    @property
    def has_tailnet(self) -> bool:
        """Whether there is a coordination server."""
        return any(process.name == COORDINATION for process in self.processes)

    def process(self, name: str) -> SandboxProcess:
        """Return a process."""
        return next(process for process in self.processes if process.name == name)

    def port_of(self, name: str) -> int:
        """Return a process's port."""
        return self.process(name).port


class Sandbox:
    """One checkout's sandbox, below its state directory."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.folder = state / "sandbox"
        self.environment_file = self.folder / "environment.yaml"
        self.credentials_file = self.folder / "credentials"
        self.passphrase_file = self.folder / "passphrase"
        self.tailnet = SandboxTailnet(self.folder)
        self.backend = self.folder / "pulumi"
        self._record_file = self.folder / "sandbox.json"

    def record(self) -> Record | None:
        """Return what was last started, or None."""
        try:
            return Record.model_validate_json(self._record_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # a half-written record of a crash: treated as no sandbox

    def require_up(self) -> Record:
        """Return the record of a running sandbox.

        Raises:
            RefusedError: it is not up.
        """
        record = self.record()
        if record is None or not record.is_up:
            raise RefusedError(
                "the sandbox is not up", code="sandbox-down", remedy="run `mutx-infra sandbox up`"
            )
        return record

    def up(self, faults: Sequence[str] = (), coordination: Path | None = None) -> tuple[Record, str]:
        """Start what is not running; returns the record and what there is to say about it.

        Args:
            faults: rules for the provider's calls (`mutx_sandbox.aws.faults`), for a sandbox that is started.
            coordination: the coordination server's program, for a sandbox with a tailnet.

        Raises:
            OutsideError: a process did not answer in time.
        """
        with self._exclusive():
            before = self.record()
            if before is not None and before.is_up:
                if coordination is not None and not before.has_tailnet:
                    return self._written(self._with_tailnet(before, coordination)), "the tailnet was added"
                current_environment_pointer(self._state).write_text(
                    f"{self.environment_file}\n", encoding="utf-8"
                )
                return before, "the sandbox is already up"
            remark = "the sandbox is up"
            if before is not None and before.ended and set(before.ended) <= _REPLACEABLE:
                return self._replace_providers(before, faults), (
                    "the provider had died and was started again; the cloud is as it was"
                )
            if before is not None:
                remark = (
                    f"the previous sandbox had died ({' and '.join(before.ended)} not running): its cloud was in "
                    "memory, so its stack state and registry were removed, and an empty one was started"
                )
                self._end(before)
            self._wipe()
            return self._start(faults, coordination), remark

    def follow(self) -> Record:
        """Say in the profile that machines follow the tenants, so that `tenant create` hardens them.

        Raises:
            RefusedError: the sandbox is not up.
        """
        with self._exclusive():
            return self._written(self.require_up().model_copy(update={"follows": True}))

    def down(self) -> bool:
        """End the sandbox's processes and remove what it wrote; False where there was none."""
        with self._exclusive():
            before = self.record()
            if before is not None:
                self._end(before)
            self._wipe()
            return before is not None

    def reset(self) -> None:
        """Empty the cloud, the stack state and the registry; the processes stay.

        Raises:
            RefusedError: the sandbox is not up.
        """
        with self._exclusive():
            record = self.require_up()
            url = f"http://127.0.0.1:{record.port_of('aws')}/moto-api/reset"
            with _direct().open(urllib.request.Request(url, method="POST"), timeout=10):
                self._wipe_state()
                self.backend.mkdir(mode=0o700)
                if record.has_tailnet:
                    self._written(self._with_new_tailnet(record))

    def _start(self, faults: Sequence[str], coordination: Path | None) -> Record:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self.passphrase_file, secrets.token_urlsafe(32))
        write_private(
            self.credentials_file,
            "[default]\naws_access_key_id = AKIASANDBOX000000000\naws_secret_access_key = sandbox\n",
        )
        self._wipe_state()
        self.backend.mkdir(mode=0o700)
        started: list[SandboxProcess] = []
        try:
            leash = ["--end-without", str(self.credentials_file)]
            started.append(self._spawn("aws", module_command("mutx_sandbox.moto_server", *leash)))
            started.append(self._spawn_provider(started[0].port, faults))
        except BaseException:
            for process in started:
                _end(process)
            raise
        made = Record(
            started_at=datetime.now(UTC),
            boot_id=_boot_id(),
            processes=tuple(started),
            versions=_versions(),
        )
        if coordination is not None:
            try:
                made = self._with_tailnet(made, coordination)
            except BaseException:
                self._end(made)
                raise
        return self._written(made)

    def _with_tailnet(self, record: Record, coordination: Path) -> Record:
        """Start the coordination server and the provider for it."""
        server = self._spawn(COORDINATION, self.tailnet.server(coordination, self.credentials_file))
        try:
            provider = self._spawn_tailnet_provider(server.port)
        except BaseException:
            _end(server)
            raise
        return record.model_copy(update={"processes": (*record.processes, server, provider)})

    def _with_new_tailnet(self, record: Record) -> Record:
        """Start the tailnet anew: the server keeps it in memory."""
        server, provider = record.process(COORDINATION), record.process(TAILNET_PROVIDER)
        program = server.program
        others = [process for process in record.processes if process not in (server, provider)]
        _end(provider)
        _end(server)
        return self._with_tailnet(record.model_copy(update={"processes": tuple(others)}), program)

    def _replace_providers(self, before: Record, faults: Sequence[str]) -> Record:
        """Start providers in the places of those that died."""
        processes = []
        for process in before.processes:
            if process.name not in before.ended:
                processes.append(process)
            elif process.name == PROVIDER:
                processes.append(self._spawn_provider(before.port_of("aws"), faults))
            else:
                processes.append(self._spawn_tailnet_provider(before.port_of(COORDINATION)))
        return self._written(before.model_copy(update={"processes": tuple(processes)}))

    def _spawn_tailnet_provider(self, api_port: int) -> SandboxProcess:
        return self._spawn(TAILNET_PROVIDER, self.tailnet.provider(api_port, self.credentials_file))

    def _spawn_provider(self, aws_port: int, faults: Sequence[str]) -> SandboxProcess:
        options = ["--end-without", str(self.credentials_file), "--endpoint", f"http://127.0.0.1:{aws_port}"]
        options += ["--credentials-file", str(self.credentials_file)]
        options += [text for fault in faults for text in ("--fault", fault)]
        return self._spawn(PROVIDER, module_command("mutx_sandbox.aws", *options))

    def _written(self, record: Record) -> Record:
        """Write down a sandbox that runs, and make it the current environment."""
        self._write_profile(record)
        write_private(self._record_file, record.model_dump_json(indent=2))
        current_environment_pointer(self._state).write_text(f"{self.environment_file}\n", encoding="utf-8")
        return record

    def _write_profile(self, record: Record) -> None:
        profile = {
            "version": 1,
            "name": "sandbox",
            "aws": {
                "account_id": ACCOUNT_ID,
                "archive_account": ARCHIVE_ACCOUNT,
                "tenant_role": {"name": ROLE, "external_id": EXTERNAL_ID},
                "endpoint_url": f"http://127.0.0.1:{record.port_of('aws')}",
                "credentials_file": str(self.credentials_file),
            },
            "pulumi": {
                "backend_url": self.backend.as_uri(),
                "passphrase_file": str(self.passphrase_file),
                "attached_providers": {
                    "aws": record.endpoints["aws_provider"],
                    **({"tailscale": record.endpoints["tailscale_provider"]} if record.has_tailnet else {}),
                },
            },
            "history": {"url": f"s3://{HISTORY_BUCKET}?region={HISTORY_REGION}"},
            "hosts": host_access(self.folder, follows=record.follows, joins=record.has_tailnet),
            "vault": vault_access(self.folder),
            "archive": {
                "url": f"s3://{ARCHIVE_BUCKET}?region={ARCHIVE_REGION}",
                "account": ARCHIVE_ACCOUNT,
                "settle_minutes": 0,
            },
            "registry": {"url": f"sqlite:///{self.folder / 'registry.db'}"},
            **({"tailnet": self._tailnet_profile(record)} if record.has_tailnet else {}),
        }
        write_private(self.environment_file, yaml.safe_dump(profile, sort_keys=False))

    def _tailnet_profile(self, record: Record) -> dict[str, object]:
        control, relay = record.process(COORDINATION).more_ports
        return self.tailnet.profile(record.endpoints["tailscale_api"], control, relay)

    def _spawn(self, name: str, command: list[str]) -> SandboxProcess:
        """Start a detached process and wait for the line with its port, or its ports."""
        log = self.folder / f"{name}.log"
        out = self.folder / f"{name}.port"
        kept = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "TMPDIR"}}
        with log.open("ab") as errors, out.open("wb") as answers:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=answers, stderr=errors,
                start_new_session=True, close_fds=True, env=kept, cwd=self.folder,
            )  # fmt: skip
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and process.poll() is None:
            line = out.read_text(encoding="utf-8")
            if line.endswith("\n"):
                _started_here[process.pid] = process
                port, *more = map(int, line.split())
                return SandboxProcess(
                    name=name, pid=process.pid, started=_started(process.pid), port=port,
                    more_ports=tuple(more),
                )  # fmt: skip
            time.sleep(0.02)
        if process.poll() is None:
            process.kill()
        process.wait()
        raise OutsideError(
            f"the sandbox's process `{name}` did not come up",
            code="sandbox-start-failed",
            detail=_tail(log),
            remedy=f"read {log}, then run `mutx-infra sandbox up` again",
        )

    def _end(self, record: Record) -> None:
        if record.boot_id == _boot_id():
            for process in record.processes:
                _end(process)

    def _wipe(self) -> None:
        pointer = current_environment_pointer(self._state)
        if pointer.is_file() and pointer.read_text(encoding="utf-8").strip() == str(self.environment_file):
            pointer.unlink()
        self._wipe_state()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wipe_state(self) -> None:
        """Remove what describes a cloud that is empty now."""
        Machines(machines_folder(self.folder)).remove()
        for kept in ("hosts", "vault"):
            shutil.rmtree(self._state / kept / "sandbox", ignore_errors=True)
        shutil.rmtree(self._state / "stacks" / "sandbox", ignore_errors=True)
        shutil.rmtree(self.backend, ignore_errors=True)
        for file in self.folder.glob("registry.db*"):
            file.unlink()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One `up`, `down` or `reset` at a time; the lock goes with the process that holds it."""
        self._state.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Beside the folder, not in it: `down` removes the folder while it holds the lock.
        with (self._state / "sandbox.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _end(process: SandboxProcess) -> None:
    """End exactly this process: asked first, killed after five seconds."""
    for number, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        if not process.is_alive:
            break
        os.kill(process.pid, number)
        _wait_for_end(process, patience_s)
    if (child := _started_here.pop(process.pid, None)) is not None:
        child.wait()


def _wait_for_end(process: SandboxProcess, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while process.is_alive:
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def _started(pid: int) -> int:
    """Return a live process's start time, or -1."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return -1
    return -1 if fields[0] in {"Z", "X"} else int(fields[19])


def _versions() -> dict[str, str]:
    """Return the versions of what serves, for whoever compares two runs."""
    return {name: version(name) for name in ("moto", "pulumi", "pulumi-aws")}


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _direct() -> urllib.request.OpenerDirector:
    """Return an opener that asks no proxy: the address is on this machine."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
