"""Runs the machines: disks, cables, processes, and the services of their networks. Lives in the process of `serve`."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from threading import RLock, Thread
from types import MappingProxyType

from mutx_sandbox.machines.backends import BACKENDS
from mutx_sandbox.machines.coordination import ADDRESS, NETWORK, NODE, SUBNET, ConvergeNode
from mutx_sandbox.machines.disk import Disk
from mutx_sandbox.machines.forwarder import Connect, forward
from mutx_sandbox.machines.groups import kill_group, memory_mib, remove_group
from mutx_sandbox.machines.kernel import inside
from mutx_sandbox.machines.machine import METADATA_ADDRESS, RESTART_STATUS, Machine, MachineState
from mutx_sandbox.machines.metadata import InstanceFacts, make_server
from mutx_sandbox.machines.network import NAMESPACES, TAILNET, Networks
from mutx_sandbox.machines.recipe import AWS_ADDRESS, AWS_PORT, COORDINATION_ADDRESS

from mutx_infra.errors import RefusedError

_HTTP_PORT = 80
_CONNECT_LIMIT_S = 5
FactsOf = Callable[[Machine], InstanceFacts]


@dataclass
class _Run:
    """A machine, and the process that it is at the moment."""

    machine: Machine
    disk: Disk
    group: Path
    scratch: Path
    process: subprocess.Popen[bytes] | None = None
    boots: int = 0
    again: bool = False
    remark: str = ""
    watcher: Thread | None = field(default=None, repr=False)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Laboratory:
    """All machines of one sandbox.

    Args:
        folder: holds a directory for each machine.
        layers: the shared image of machines that come without one, uppermost first.
        group: the control group that machines get groups in.
        facts_of: gives what the cloud knows of a machine's instance.
        connect_aws: opens a connection to the sandbox's AWS, in this machine's own network.
        converge: the toolkit's node, where machines join a coordination server; None where addresses are fixed.
        coordination: what opens a connection to that server, by the port that machines ask.
    """

    def __init__(
        self, folder: Path, layers: tuple[Path, ...], group: Path, facts_of: FactsOf, connect_aws: Connect,
        converge: ConvergeNode | None = None, coordination: Mapping[int, Connect] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self._folder, self._layers, self._group = folder, layers, group
        self._facts_of, self._connect_aws = facts_of, connect_aws
        self._converge, self._coordination = converge, coordination
        self._networks = Networks()
        self._runs: dict[str, _Run] = {}
        self._lock = RLock()

    def start(self) -> None:
        """Have what the toolkit needs to reach machines."""
        if self._converge is not None:
            self.visit(NODE, NETWORK, SUBNET, [ADDRESS])
            self._converge.start()

    def add(self, machine: Machine, layers: tuple[Path, ...] = ()) -> bool:
        """Run a machine; False where it runs already. One whose instance or release is another gets a new disk."""
        if self._converge is not None:
            machine = machine.model_copy(update={"tailnet": False})  # tailscaled brings the interface
        with self._lock:
            known = self._runs.get(machine.name)
            if known is not None and known.machine == machine and known.is_running:
                return False
            self._require_free(machine)
            if known is not None:
                self._end(known)
            run = self._new_run(machine, layers or self._layers)
            if known is not None and known.disk.layers != run.disk.layers:
                known.disk.unmount()
            self._runs[machine.name] = run
            if self._networks.vpc(machine.wire.vpc):
                self._serve(machine.wire.vpc)
            self._boot(run)
            return True

    def remove(self, name: str) -> None:
        """End a machine and forget its disk."""
        with self._lock:
            run = self._require(name)
            self._end(run)
            run.disk.remove()
            (self._folder / name / "instance").unlink(missing_ok=True)
            del self._runs[name]

    def reboot(self, name: str) -> None:
        """Have a machine shut down in order, and start it again; returns at once."""
        with self._lock:
            run = self._require(name)
            if run.process is None or not run.is_running:
                self._boot(run)
                return
            run.again = True
            BACKENDS[run.machine.backend].ask_to_stop(run.machine, run.process.pid)

    def cut(self, name: str) -> None:
        """Take a machine's power away; its disk stays."""
        with self._lock:
            run = self._require(name)
            run.remark = "its power was cut"
            self._end(run)

    def states(self) -> list[MachineState]:
        """Return how every machine is doing, by name."""
        with self._lock:
            runs = [self._runs[name] for name in sorted(self._runs)]
        return [
            MachineState(
                machine=run.machine,
                state="running" if run.is_running else "stopped",
                boots=run.boots,
                memory_mib=round(memory_mib(run.group), 1) if run.is_running else 0.0,
                remark=run.remark,
            )
            for run in runs
        ]

    def visit(self, name: str, network: str, subnet: str, addresses: list[str]) -> Path:
        """Plug in a visitor (`Networks.visit`)."""
        with self._lock:
            if network != TAILNET and self._networks.vpc(network):
                self._serve(network)
            return self._networks.visit(name, network, subnet, addresses)

    def leave(self, name: str) -> None:
        """Unplug a visitor."""
        with self._lock:
            self._networks.unplug(name)

    def connect(self, address: str, port: int) -> socket.socket:
        """Connect to a machine as an operator does, from the tailnet."""
        if self._converge is not None:
            return self._converge.connect(address, port)
        return inside(
            NAMESPACES / TAILNET, lambda: socket.create_connection((address, port), _CONNECT_LIMIT_S)
        )

    def _boot(self, run: _Run) -> None:
        machine, backend = run.machine, BACKENDS[run.machine.backend]
        run.scratch.mkdir(parents=True, exist_ok=True)
        is_new = run.disk.is_new
        root = run.disk.mount()
        if is_new:
            name_host(root, machine.name)
        backend.prepare(machine, root, run.scratch)
        self._networks.plug(machine)
        run.group.mkdir(parents=True, exist_ok=True)
        with (run.scratch / "console.log").open("ab") as log:
            # The shell enters the group before it becomes the machine, so that nothing is ever outside.
            run.process = subprocess.Popen(
                ["/bin/sh", "-c", 'echo $$ >"$0"/cgroup.procs && exec "$@"', str(run.group),
                 *backend.command(machine, root, run.scratch)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        run.boots, run.again, run.remark = run.boots + 1, False, ""
        run.watcher = Thread(target=self._watch, args=(run, run.process), daemon=True)
        run.watcher.start()

    def _watch(self, run: _Run, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        with self._lock:
            if run.process is not process or self._runs.get(run.machine.name) is not run:
                return
            kill_group(run.group)
            if run.again or status == RESTART_STATUS:
                self._boot(run)
                return
            run.process = None
            run.remark = run.remark or f"it ended with status {status}; see {run.scratch / 'console.log'}"
            self._networks.unplug(run.machine.name)

    def _end(self, run: _Run) -> None:
        process, run.process = run.process, None
        kill_group(run.group)
        if process is not None:
            process.wait()
        remove_group(run.group)
        self._networks.unplug(run.machine.name)

    def _new_run(self, machine: Machine, layers: tuple[Path, ...]) -> _Run:
        place = self._folder / machine.name
        identity = place / "instance"
        disk = Disk(place / "disk", layers)
        if identity.exists() and identity.read_text(encoding="utf-8") != machine.identity:
            disk.remove()
        place.mkdir(parents=True, exist_ok=True)
        identity.write_text(machine.identity, encoding="utf-8")
        return _Run(machine, disk, self._group / machine.name, place / "scratch")

    def _require_free(self, machine: Machine) -> None:
        place = (machine.wire.vpc, machine.wire.address)
        for other in self._runs.values():
            taken = (other.machine.wire.vpc, other.machine.wire.address)
            if other.machine.name != machine.name and taken == place:
                raise RefusedError(
                    f"{machine.name} would have the address of {other.machine.name}, {machine.wire.address}",
                    code="machine-address-taken",
                    remedy=f"`mutx-infra sandbox hosts down {other.machine.name}`, then the same command again",
                )

    def _require(self, name: str) -> _Run:
        if name not in self._runs:
            raise RefusedError(
                f"there is no machine {name}",
                code="machine-unknown",
                remedy="`mutx-infra sandbox hosts list` shows those that there are",
            )
        return self._runs[name]

    def _serve(self, vpc: str) -> None:
        """Answer at the link-local addresses of a network."""
        metadata = self._listen(vpc, METADATA_ADDRESS, _HTTP_PORT)
        server = make_server(metadata, lambda address: self._facts_at(vpc, address))
        Thread(target=server.serve_forever, daemon=True, name=f"metadata {vpc}").start()
        listening = self._listen(vpc, AWS_ADDRESS, AWS_PORT)
        Thread(target=forward, args=(listening, self._connect_aws), daemon=True, name=f"aws {vpc}").start()
        for port, connect in self._coordination.items():
            listening = self._listen(vpc, COORDINATION_ADDRESS, port)
            Thread(target=forward, args=(listening, connect), daemon=True, name=f"{port} {vpc}").start()

    @staticmethod
    def _listen(vpc: str, address: str, port: int) -> socket.socket:
        return inside(NAMESPACES / vpc, lambda: socket.create_server((address, port), backlog=64))

    def _facts_at(self, vpc: str, address: IPv4Address) -> InstanceFacts | None:
        found = (run.machine for run in list(self._runs.values()))
        return next(
            (self._facts_of(m) for m in found if (m.wire.vpc, m.wire.address) == (vpc, address)), None
        )


def name_host(root: Path, name: str) -> None:
    """Give a new machine the name it has until it joins."""
    (root / "etc/hostname").write_text(f"{name}\n", encoding="utf-8")
    hosts = f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {name}\n"
    (root / "etc/hosts").write_text(hosts, encoding="utf-8")
