"""What a machine with a kernel of its own finds at its start: named interfaces with addresses, before systemd is there.

A container finds its network ready; here a small program does what a hypervisor's agent does, then becomes systemd.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mutx_sandbox.machines.machine import TAILNET_INTERFACE, VPC_INTERFACE, Machine, interface_lines

RUNTIME = Path("/run/mutx")
"""Below the laboratory's own /run: a path without a space, and short enough for a socket."""
INIT = "/usr/libexec/mutx/own-kernel-init"
_WIRE = "/etc/mutx/own-kernel-wire"
_NOWHERE = Path("/dev/null")
_EXECUTABLE, _PLAIN = 0o755, 0o644


def write_start(machine: Machine, root: Path, interfaces: tuple[str, str]) -> None:
    """Write the program that the kernel runs first; `interfaces` are the kernel's names of VPC's and tailnet's."""
    lines = interface_lines(machine.wire)
    wanted = (VPC_INTERFACE, TAILNET_INTERFACE) if machine.tailnet else (VPC_INTERFACE,)
    renamed = [(old, new) for old, new in zip(interfaces, wanted, strict=False) if old != new]
    lines[:0] = [f"link set {old} name {new}" for old, new in renamed]
    write(root / _WIRE.lstrip("/"), "".join(f"{line}\n" for line in lines), _PLAIN)
    script = f'#!/bin/sh\nmodprobe -q ipv6\nip -force -batch {_WIRE}\nexec /sbin/init "$@"\n'
    write(root / INIT.lstrip("/"), script, _EXECUTABLE)


def mask(root: Path, units: Iterable[str]) -> None:
    """Keep units of systemd from starting."""
    for unit in units:
        place = root / "etc/systemd/system" / unit
        place.unlink(missing_ok=True)
        place.symlink_to(_NOWHERE)


def unmask(root: Path, units: Iterable[str]) -> None:
    """Take back what `mask` did for another backend."""
    for unit in units:
        place = root / "etc/systemd/system" / unit
        if place.is_symlink() and place.readlink() == _NOWHERE:
            place.unlink()


def write(path: Path, text: str, mode: int) -> None:
    """Write a file, with the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
