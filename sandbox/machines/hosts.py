"""Brings the hosts of the sandbox up and down: image, machines, joining, SSH."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mutx_sandbox.daemon import COORDINATION, Sandbox
from mutx_sandbox.machines.backends import BACKENDS, usable_backend
from mutx_sandbox.machines.debian_kernel import ensure_kernel
from mutx_sandbox.machines.instances import MOST_TRIAL_HOSTS, TrialHosts, tenant_machines
from mutx_sandbox.machines.kernel import run, watches_left
from mutx_sandbox.machines.life import Machines
from mutx_sandbox.machines.machine import BackendName, Machine, MachineState
from mutx_sandbox.machines.packages import SUITE, require_suite
from mutx_sandbox.machines.places import authority_file, machines_folder
from mutx_sandbox.machines.qemu import is_accelerated, kvm_is_offered
from mutx_sandbox.machines.recipe import ensure_layer
from mutx_sandbox.machines.rootfs import Image, ensure_rootfs
from mutx_sandbox.machines.tailnet_layer import ensure_tailnet_layer
from mutx_sandbox.machines.tools import BUILD, NETWORK, ensure_tools, needed_by, require_root
from mutx_sandbox.machines.vault_layer import ensure_vault_layer

from mutx_infra.access import HostTarget, SshFiles
from mutx_infra.errors import OutsideError, RefusedError, UsageError

if TYPE_CHECKING:
    from mutx_infra.bootstrap import HostPorts
    from mutx_infra.records import TenantRecord

JOIN_WITHIN_S = {BackendName.NSPAWN: 60.0, BackendName.UML: 240.0, BackendName.QEMU: 600.0}
_SSH_PARALLEL = 8
_WATCHES_EACH = 8
"""Inotify instances of a container's systemd, D-Bus, logind and the login of one account: counted."""
_SSH_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class UpHost:
    """One host after `up`.

    Attributes:
        is_new: its machine did not run before.
    """

    target: HostTarget
    machine: Machine
    is_new: bool


@dataclass(frozen=True, slots=True)
class MachineImage:
    """What machines are made of.

    Attributes:
        release: of Debian.
        layers: uppermost first.
        accelerated: KVM runs its kernel; only ever with QEMU.
    """

    backend: BackendName
    release: str
    layers: tuple[Path, ...]
    accelerated: bool = False


@dataclass(frozen=True, slots=True)
class SandboxHosts:
    """The hosts of one checkout's sandbox.

    Attributes:
        cache: where the image is kept.
        say: tells the operator what takes its time.
    """

    sandbox: Sandbox
    cache: Path
    say: Callable[[str], None]

    @property
    def machines(self) -> Machines:
        """The machines that run, or would."""
        return Machines(machines_folder(self.sandbox.folder))

    def prepare(self, backend: BackendName | None, release: str = SUITE) -> MachineImage:
        """Have all that machines take; without a backend, that of the quickest one with a kernel of its own.

        Raises:
            RefusedError: not root, or the backend does not work here.
        """
        require_root()
        require_suite(release)
        if backend is None:
            backend = self._with_own_kernel(release)
        ensure_tools(needed_by([NETWORK, BUILD, BACKENDS[backend].needs]), self.say)
        usable_backend(backend)
        programs = self._tailnet_programs()
        baked = (ensure_tailnet_layer(self.cache, programs),) if programs is not None else ()
        # A machine with a kernel of its own is for what only a kernel shows; the program would be half of its disk.
        vault = ensure_vault_layer(self.cache) if backend is BackendName.NSPAWN else None
        baked = (*baked, *((vault,) if vault else ()))
        layers = (*baked, ensure_layer(self.cache), ensure_rootfs(self.cache, self.say, Image(suite=release)))
        if backend is not BackendName.QEMU:
            return MachineImage(backend, release, layers)
        kernel = ensure_kernel(self.cache, self.say, release)
        accelerated = is_accelerated(kernel)
        if not accelerated:
            self.say("KVM does not run Debian's kernel here: the processor is emulated, which is slow")
        return MachineImage(backend, release, (*layers[:1], kernel, *layers[1:]), accelerated)

    def _with_own_kernel(self, release: str) -> BackendName:
        """Choose between QEMU and User-Mode Linux, which beats an emulated processor."""
        if not kvm_is_offered() or BACKENDS[BackendName.QEMU].obstacle():
            return BackendName.UML
        ensure_tools(needed_by([NETWORK, BUILD, BACKENDS[BackendName.QEMU].needs]), self.say)
        works = is_accelerated(ensure_kernel(self.cache, self.say, release))
        return BackendName.QEMU if works else BackendName.UML

    def start(self, layers: tuple[Path, ...]) -> None:
        """Have a sandbox that is up, its SSH authority, and a laboratory."""
        record = self.sandbox.record()
        if record is None or not record.is_up:
            _, remark = self.sandbox.up()
            self.say(remark)
        authority = authority_file(self.sandbox.folder)
        if not authority.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ssh authority", "-f", str(authority))
        more: tuple[str, ...] = ()
        if (programs := self._tailnet_programs()) is not None:
            ports = self.sandbox.require_up().process(COORDINATION).more_ports
            more = ("--tailnet", str(programs), "--tailnet-ports", *map(str, ports))
        self.machines.start(self.sandbox.environment_file, self.sandbox.credentials_file, layers, more)

    def _tailnet_programs(self) -> Path | None:
        """Return where the programs of the sandbox's tailnet are; None where it has none."""
        record = self.sandbox.record()
        if record is None or not record.is_up or not record.has_tailnet:
            return None
        return record.process(COORDINATION).program.parent

    def up_trial(
        self, number: int, trial: TrialHosts, ports: HostPorts, image: MachineImage, memory_mib: int
    ) -> tuple[UpHost, ...]:
        """Have so many trial hosts; those that there are get the same image."""
        if self._tailnet_programs() is not None:
            raise RefusedError(
                "trial hosts have no place in the policy of this sandbox's tailnet",
                code="hosts-trial-tailnet",
                remedy="for them start a sandbox by `sandbox up --no-tailnet`, or name a tenant: `--tenant acme`",
            )
        if not 1 <= number <= MOST_TRIAL_HOSTS:
            raise UsageError(
                f"{number} hosts: between 1 and {MOST_TRIAL_HOSTS} are possible",
                code="hosts-number",
                remedy="give another number",
            )
        targets = trial.ensure(number)
        return self._up(targets, tuple(trial.machines(targets, image.backend, memory_mib)), ports, image)

    def up_tenant(
        self,
        record: TenantRecord,
        names: Sequence[str],
        ports: HostPorts,
        image: MachineImage,
        memory_mib: int,
    ) -> tuple[UpHost, ...]:
        """Have the hosts of a tenant; `names` picks some by key, e.g. `agent-1`."""
        targets, machines = tenant_machines(record, image.backend, memory_mib)
        unknown = sorted(set(names) - {target.key for target in targets})
        if unknown:
            raise RefusedError(
                f"{record.spec.id} has no host {', '.join(unknown)}",
                code="host-unknown",
                remedy=f"it has {', '.join(target.key for target in targets)}",
            )
        chosen = [i for i, target in enumerate(targets) if not names or target.key in names]
        some, their = tuple(targets[i] for i in chosen), tuple(machines[i] for i in chosen)
        return self._up(some, their, ports, image, every=targets)

    def down_some(self, names: Iterable[str]) -> None:
        """End some machines and forget their disks."""
        for name in names:
            self.machines.drop(name)

    def states(self) -> tuple[MachineState, ...]:
        """Return how the machines are doing."""
        return self.machines.states()

    def _up(
        self, targets: Sequence[HostTarget], plain: Sequence[Machine], ports: HostPorts, image: MachineImage,
        every: Sequence[HostTarget] | None = None,
    ) -> tuple[UpHost, ...]:  # fmt: skip
        of_image = {"release": image.release, "accelerated": image.accelerated}
        machines = [machine.model_copy(update=of_image) for machine in plain]
        self._require_watches(machines)
        new = [self.machines.add(machine, image.layers) for machine in machines]
        if not targets:
            return ()
        limit_s = JOIN_WITHIN_S[image.backend] + 2.0 * len(targets)
        ports.joining.bring_in(targets, limit_s, lambda host: self.say(f"{host.name} has joined"))
        files = ports.ssh.prepare(targets[0].tenant, every or targets)
        await_logins(targets, files, limit_s)
        return tuple(map(UpHost, targets, machines, new))

    def _require_watches(self, machines: Sequence[Machine]) -> None:
        """Refuse machines that would starve: half-booted ones would be all there is to see of it."""
        running = {state.machine.name for state in self.states() if state.state == "running"}
        new = [m for m in machines if m.name not in running and m.backend is BackendName.NSPAWN]
        wanted = len(new) * _WATCHES_EACH
        left = watches_left(wanted)
        if left < wanted:
            raise RefusedError(
                f"{len(new)} more containers take {wanted} inotify instances, and {left} are left to root",
                code="inotify-exhausted",
                remedy="end other machines, or raise fs.inotify.max_user_instances on this machine",
            )


def await_logins(targets: Sequence[HostTarget], files: SshFiles, within_s: float) -> None:
    """Return when every host lets the converge account in.

    Raises:
        OutsideError: some do not, in time (code `hosts-no-login`).
    """
    with ThreadPoolExecutor(_SSH_PARALLEL) as pool:
        answers = list(pool.map(lambda target: _await_login(target, files, within_s), targets))
    failed = [(target.name, answer) for target, answer in zip(targets, answers, strict=True) if answer]
    if failed:
        raise OutsideError(
            f"no login at {', '.join(name for name, _ in failed)}",
            code="hosts-no-login",
            remedy="see the machines' console logs (`mutx-infra sandbox hosts list`), then run it again",
            detail=failed[0][1],
        )


def _await_login(target: HostTarget, files: SshFiles, within_s: float) -> str:
    """Return the last complaint of SSH, or nothing once it got in."""
    command = ["ssh", "-F", str(files.config), target.name, "true"]
    deadline = time.monotonic() + within_s
    while True:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SSH_LIMIT_S,
            check=False,
        )
        if done.returncode == 0 or time.monotonic() > deadline:
            return done.stderr.strip() if done.returncode else ""
        time.sleep(0.1)
