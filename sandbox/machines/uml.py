"""Machines with a kernel of their own by User-Mode Linux: auditd and sysctl work; ten times slower than a container.

The kernel is Debian's `user-mode-linux`, an ordinary program. Its root is the machine's directory by hostfs, so no
image is made. Devices do not come and go here, so udev, the slowest part of the start, stays out.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

from mutx_sandbox.machines.kernel import run
from mutx_sandbox.machines.machine import RESTART_STATUS, Machine
from mutx_sandbox.machines.own_kernel import INIT, RUNTIME, mask, write, write_start
from mutx_sandbox.machines.tools import USER_MODE, which

MODULES = Path("/usr/lib/uml/modules")
_RESTART = "restart"
UNWANTED = ("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udev-settle.service",
           "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "e2scrub_reap.service",
           "systemd-random-seed.service", "getty@tty1.service", "sys-kernel-config.mount",
           "sys-fs-fuse-connections.mount", "kmod-static-nodes.service",
           "systemd-modules-load.service")  # fmt: skip
_CONSOLE_MAGIC, _CONSOLE_VERSION = 0xCAFEBABE, 2


class UserModeLinux:
    """linux.uml with its network on taps."""

    needs: Mapping[str, str] = USER_MODE

    def obstacle(self) -> str:
        """A tap is a device of this machine's."""
        return "" if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"

    def prepare(self, machine: Machine, root: Path, scratch: Path) -> None:
        """Write the program that names the interfaces before systemd starts, and lend the kernel's modules."""
        write(scratch / _RESTART, f"#!/bin/sh\nexit {RESTART_STATUS}\n", 0o755)
        write_start(machine, root, ("vec0", "vec1"))
        mask(root, UNWANTED)
        place = RUNTIME / machine.name
        (place / "root").mkdir(parents=True, exist_ok=True)
        if (place / "root").is_mount():
            run("umount", "--recursive", "--lazy", str(place / "root"))
        for version in MODULES.iterdir():
            lent = root / "usr/lib/modules" / version.name
            lent.mkdir(parents=True, exist_ok=True)
            if not lent.is_mount():
                run("mount", "--bind", "--options", "ro", str(version), str(lent))
        run("mount", "--rbind", str(root), str(place / "root"))

    def command(self, machine: Machine, root: Path, scratch: Path) -> list[str]:  # noqa: ARG002
        """Return the kernel's command; it runs in the machine's namespace, where the taps are."""
        kernel = which("linux.uml") or "linux.uml"
        taps = [0, 1] if machine.tailnet else [0]
        macs = (machine.mac, machine.tailnet_mac)
        return [
            "ip", "netns", "exec", machine.name, "env", f"HOME={scratch}", f"TMPDIR={_memory_directory()}",
            # To restart, the kernel executes what it was called as, in the middle of what is left of itself. This name
            # is a script that says so instead, and the machine is started anew.
            "bash", "-c", 'exec -a "$0" "$@"', str(scratch / _RESTART), kernel,
            f"mem={machine.memory_mib}M", f"umid={machine.name}", f"uml_dir={RUNTIME / machine.name}",
            "root=/dev/root", "rootfstype=hostfs", f"rootflags={RUNTIME / machine.name}/root", "rw", f"init={INIT}",
            *(f"vec{tap}:transport=tap,ifname=tap{tap},depth=64,gro=1,mac={macs[tap]}" for tap in taps),
            "con=null", "con0=null,fd:1", "quiet", "systemd.show_status=0", "audit=1", "selinux=0",
        ]  # fmt: skip

    def ask_to_stop(self, machine: Machine, pid: int) -> None:  # noqa: ARG002
        """Press Ctrl-Alt-Del by the kernel's own console, which systemd answers with a restart."""
        console = RUNTIME / machine.name / machine.name / "mconsole"
        request = struct.pack("=III512s", _CONSOLE_MAGIC, _CONSOLE_VERSION, 3, b"cad")
        # A socket's path may be 108 bytes long at most, and this one need not be.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            directory = os.open(console.parent, os.O_PATH | os.O_DIRECTORY)
            try:
                asking.sendto(request, f"/proc/self/fd/{directory}/{console.name}")
            finally:
                os.close(directory)


def _memory_directory() -> str:
    """Return where the machine's memory may be a file: on a disk it would be written to again and again."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else "/tmp"  # noqa: S108 - the kernel unlinks the file at once
