"""Virtual machines by QEMU, with Debian's own kernel: everything a host in a cloud has, AppArmor and udev included.

Slow where the processor is emulated. Whether KVM works is not told by /dev/kvm: some hypervisors offer one that starts
no Debian kernel. So one is started.
"""

from __future__ import annotations

import json
import platform
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from mutx_sandbox.machines.debian_kernel import ALIVE, INITIAL_ROOT, KERNEL, PROBE, SHARE
from mutx_sandbox.machines.machine import Machine
from mutx_sandbox.machines.own_kernel import RUNTIME, unmask, write_start
from mutx_sandbox.machines.tools import EMULATOR, which
from mutx_sandbox.machines.uml import UNWANTED

PROBE_WITHIN_S = 15
"""On an emulated processor the kernel has powered off after seven, beside other work."""
_PROCESSORS = 2
_PROBE_MEMORY_MIB = 256
_QUIET = "console=ttyS0 quiet panic=1"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Qemu:
    """qemu-system-x86_64; the machine's directory is its root by 9P, its network on taps."""

    needs: Mapping[str, str] = EMULATOR

    def obstacle(self) -> str:
        """Debian's kernel of this architecture is the one that is fetched."""
        if platform.machine() != "x86_64":
            return "only x86-64 is supported"
        return "" if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"

    def prepare(self, machine: Machine, root: Path, scratch: Path) -> None:  # noqa: ARG002
        """Write the program that names the interfaces before systemd starts; devices come and go by udev."""
        write_start(machine, root, ("eth0", "eth1"))
        unmask(root, UNWANTED)
        (RUNTIME / machine.name).mkdir(parents=True, exist_ok=True)

    def command(self, machine: Machine, root: Path, scratch: Path) -> list[str]:  # noqa: ARG002
        """Return the emulator's command; it runs in the machine's namespace, where the taps are.

        A restart stays in the process: the emulated machine is reset, as a real one is.
        """
        macs = (machine.mac, machine.tailnet_mac) if machine.tailnet else (machine.mac,)
        shared = f"local,id={SHARE},path={_escaped(root)},security_model=passthrough,multidevs=remap"
        return [
            "ip", "netns", "exec", machine.name,
            *_emulator(root, machine.memory_mib, accelerated=machine.accelerated),
            "-smp", str(_PROCESSORS), "-fsdev", shared, "-device", f"virtio-9p-pci,fsdev={SHARE},mount_tag={SHARE}",
            *(word for number, mac in enumerate(macs) for word in _interface(number, mac)),
            "-qmp", f"unix:{_control(machine)},server=on,wait=off",
            "-append", f"{_QUIET} net.ifnames=0 systemd.show_status=0 audit=1",
        ]  # fmt: skip

    def ask_to_stop(self, machine: Machine, pid: int) -> None:  # noqa: ARG002
        """Press the power button (QEMU's machine protocol, `system_powerdown`)."""
        with socket.socket(socket.AF_UNIX) as control, control.makefile("rw", encoding="utf-8") as lines:
            control.connect(str(_control(machine)))
            lines.readline()
            for command in ("qmp_capabilities", "system_powerdown"):
                lines.write(json.dumps({"execute": command}) + "\n")
                lines.flush()
                lines.readline()


def kvm_is_offered() -> bool:
    """Say whether there is a KVM at all; whether it works is another question."""
    return Path("/dev/kvm").exists()


def is_accelerated(kernel: Path, within_s: float = PROBE_WITHIN_S) -> bool:
    """Say whether KVM runs Debian's kernel here; found out once for each kernel and start of this machine.

    Args:
        kernel: the layer that it lies in.
        within_s: how long it may take; one that does not work hangs.
    """
    if not kvm_is_offered():
        return False
    known = kernel.with_name(f".{kernel.name}.kvm")
    boot = _BOOT_ID.read_text(encoding="ascii").strip()
    if known.is_file():
        seen, _, answer = known.read_text(encoding="ascii").partition(" ")
        if seen == boot:
            return answer == "yes"
    works = boots(kernel, accelerated=True, within_s=within_s)
    known.write_text(f"{boot} {'yes' if works else 'no'}", encoding="ascii")
    return works


def boots(kernel: Path, *, accelerated: bool, within_s: float) -> bool:
    """Start the kernel of a layer with nothing but its initial root; says whether it came to life and ended in time."""
    command = [*_emulator(kernel, _PROBE_MEMORY_MIB, accelerated=accelerated), "-append", f"{_QUIET} {PROBE}"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=within_s, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and re.search(rb"^" + ALIVE.encode(), done.stdout, re.MULTILINE) is not None


def _emulator(root: Path, memory_mib: int, *, accelerated: bool) -> list[str]:
    processor = ["-accel", "kvm", "-cpu", "host"] if accelerated else ["-accel", "tcg", "-cpu", "max"]
    return [
        which("qemu-system-x86_64") or "qemu-system-x86_64",
        "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", *processor, "-m", str(memory_mib),
        "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
        "-kernel", str(root / KERNEL), "-initrd", str(root / INITIAL_ROOT),
    ]  # fmt: skip


def _interface(number: int, mac: str) -> tuple[str, ...]:
    tap = f"tap,id=net{number},ifname=tap{number},script=no,downscript=no"
    return ("-netdev", tap, "-device", f"virtio-net-pci,netdev=net{number},mac={mac}")


def _control(machine: Machine) -> Path:
    return RUNTIME / machine.name / "control"


def _escaped(path: Path) -> str:
    """Return a path as part of an option of QEMU's, where a comma is written twice."""
    return str(path).replace(",", ",,")
