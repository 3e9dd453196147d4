"""A checkout's laboratory, seen from outside: started, asked, ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from mutx_sandbox.machines.control import ask
from mutx_sandbox.machines.groups import group_name, remove_everywhere
from mutx_sandbox.machines.machine import Machine, MachineState
from mutx_sandbox.machines.record import LabRecord, read_record, record_file, socket_file
from mutx_sandbox.processes import module_command

from mutx_infra.errors import OutsideError

_READY_WITHIN_S = 30.0
_END_WITHIN_S = 10.0
_KEPT = ("HOME", "LANG", "PATH", "TMPDIR")


class Machines:
    """The machines of one sandbox.

    Args:
        folder: where they are kept, below the sandbox's own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def record(self) -> LabRecord | None:
        """The laboratory that runs, or None."""
        return read_record(self.folder)

    def start(
        self, environment: Path, leash: Path, layers: tuple[Path, ...], more: tuple[str, ...] = ()
    ) -> bool:
        """Have a laboratory; False where there is one already.

        Args:
            environment: the sandbox's profile.
            leash: a file without which the laboratory ends.
            layers: of the image, uppermost first.
            more: options of `serve`.

        Raises:
            OutsideError: it did not come up (code `laboratory-start-failed`).
        """
        if self.record is not None:
            return False
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in (record_file(self.folder), socket_file(self.folder)):
            left.unlink(missing_ok=True)
        command = module_command(
            "mutx_sandbox.machines.serve", "--folder", str(self.folder), "--environment", str(environment),
            "--end-without", str(leash), *(text for layer in layers for text in ("--layer", str(layer))), *more,
        )  # fmt: skip
        log = self.folder / "laboratory.log"
        with log.open("ab") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True,
                env={name: value for name, value in os.environ.items() if name in _KEPT}, cwd="/",
            )  # fmt: skip
        deadline = time.monotonic() + _READY_WITHIN_S
        while not (socket_file(self.folder).exists() and record_file(self.folder).exists()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise _not_started(log)
            time.sleep(0.01)
        return True

    def stop(self) -> bool:
        """End all machines and what runs them; their disks stay. False where nothing ran."""
        record = self.record
        if record is not None:
            for number, patience_s in ((signal.SIGTERM, _END_WITHIN_S), (signal.SIGKILL, _END_WITHIN_S)):
                if record.is_up:
                    os.kill(record.keeper.pid, number)
                _wait_for_end(record, patience_s)
        remove_everywhere(group_name(self.folder))
        return record is not None

    def remove(self) -> bool:
        """End all machines and forget their disks; False where nothing ran."""
        ran = self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        return ran

    def add(self, machine: Machine, layers: tuple[Path, ...] = ()) -> bool:
        """Run a machine, of the image with these layers or of the laboratory's own; False where it runs already."""
        answer = self._ask(
            "add", machine=machine.model_dump(mode="json"), layers=[str(layer) for layer in layers]
        )
        return bool(answer)

    def follow(self) -> bool:
        """Have the tenants' machines come and go with their stacks; False where they do already."""
        return bool(self._ask("follow"))

    def drop(self, name: str) -> None:
        """End a machine and forget its disk."""
        self._ask("remove", name=name)

    def reboot(self, name: str) -> None:
        """Have a machine shut down in order and start again."""
        self._ask("reboot", name=name)

    def cut(self, name: str) -> None:
        """Take a machine's power away."""
        self._ask("cut", name=name)

    def names(self) -> tuple[str, ...]:
        """Return the machines that have a disk, running or not, also where no laboratory runs."""
        return tuple(sorted(path.parent.name for path in self.folder.glob("*/instance")))

    def states(self) -> tuple[MachineState, ...]:
        """Return how the machines are doing; none where no laboratory runs."""
        if self.record is None:
            return ()
        return tuple(MachineState.model_validate(state) for state in self._ask("states"))

    def visit(self, name: str, network: str, subnet: str, *addresses: str) -> Path:
        """Plug a visitor in and return the file of its namespace, for `nsenter --net=FILE`.

        Args:
            name: of the visitor, unlike any machine's; an earlier one of the name is unplugged.
            network: a VPC's name, or `tailnet`.
            subnet: CIDR of a subnet of the VPC, or of one that no machine is in; empty for the tailnet.
            addresses: with prefix lengths, IPv4 or IPv6.
        """
        place = self._ask("visit", name=name, network=network, subnet=subnet, addresses=list(addresses))
        record = self.record
        assert record is not None  # noqa: S101 - it has just answered
        return Path(f"/proc/{record.inner}/root{place}")

    def leave(self, name: str) -> None:
        """Unplug a visitor."""
        self._ask("leave", name=name)

    def _ask(self, do: str, **details: object) -> Any:  # noqa: ANN401 - see control.ask
        return ask(socket_file(self.folder), do, **details)


def _wait_for_end(record: LabRecord, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while record.is_up and time.monotonic() < deadline:
        time.sleep(0.01)


def _not_started(log: Path) -> OutsideError:
    return OutsideError(
        "the laboratory of the machines did not come up",
        code="laboratory-start-failed",
        remedy=f"read {log}, then run `mutx-infra sandbox hosts up` again",
        detail="\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]),
    )
