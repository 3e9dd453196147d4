"""Containers by systemd-nspawn: up in a second, a network of their own, the kernel shared.

Default capabilities and CAP_NET_ADMIN, which reaches the container's own network only. So ufw and fail2ban enforce,
and auditd and global sysctls are out of reach.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from mutx_sandbox.machines.machine import Machine
from mutx_sandbox.machines.network import NAMESPACES
from mutx_sandbox.machines.tools import CONTAINER, which

TUN = Path("/dev/net/tun")
"""What a tailscaled makes its interface by: a device of the machine's own network, though the node is shared."""


class Nspawn:
    """systemd-nspawn, without a systemd on this side."""

    needs: Mapping[str, str] = CONTAINER

    def obstacle(self) -> str:
        """Containers need a unified control group hierarchy, which every kernel has that is not older than 4.5."""
        kinds = Path("/proc/filesystems").read_text(encoding="ascii")
        return (
            "" if "\tcgroup2" in kinds and "\toverlay" in kinds else "this kernel lacks cgroup2 or overlayfs"
        )

    def prepare(self, machine: Machine, root: Path, scratch: Path) -> None:
        """Nothing: a container finds its network ready."""

    def command(self, machine: Machine, root: Path, scratch: Path) -> list[str]:  # noqa: ARG002
        """Return the container's command.

        No systemd of this machine is told (`--register=no --keep-unit`): there need not be one.
        """
        return [
            which("systemd-nspawn") or "systemd-nspawn",
            "--quiet", "--boot", "--register=no", "--keep-unit", "--settings=no", "--console=pipe",
            "--link-journal=no", "--resolv-conf=off", "--timezone=off",
            f"--network-namespace-path={NAMESPACES / machine.name}", "--capability=CAP_NET_ADMIN",
            *([f"--bind={TUN}"] if TUN.exists() else []),
            f"--machine={machine.name}", f"--directory={root}",
        ]  # fmt: skip

    def ask_to_stop(self, machine: Machine, pid: int) -> None:  # noqa: ARG002
        """SIGTERM has nspawn tell the container's systemd to power off (systemd-nspawn(1), --kill-signal)."""
        os.kill(pid, signal.SIGTERM)
