"""The converge account's SSH files: a key of this checkout's own, a short certificate, known hosts, `ssh_config`.

The authority is a key file here. Each tenant has a directory; everything in it but the known hosts can be made anew.
"""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from mutx_infra import naming
from mutx_infra.access import (
    CERTIFICATE_MINUTES,
    HostKey,
    HostTarget,
    SshFiles,
    SshRoute,
    parse_known_hosts,
    render_known_hosts,
    render_ssh_config,
)
from mutx_infra.errors import OutsideError, SettingsError

_PRIVATE_DIRECTORY, _PRIVATE = 0o700, 0o600
_RENEW_BEFORE_S = 20 * 60
"""A run over many hosts takes minutes, and must not lose its way in because it began with an old certificate."""
_CLOCK_SKEW = "-1m"
_LIMIT_S = 30


class SshFileStore:
    """Files for SSH, below one directory.

    Args:
        home: the directory; each tenant gets one in it.
        ca_key_file: private key of the authority.
        route: how hosts are reached from here.
    """

    def __init__(self, home: Path, ca_key_file: Path, route: SshRoute) -> None:
        self.home, self._ca, self._route = home, ca_key_file, route

    def authorities(self) -> tuple[str, ...]:
        """Return the public key of the authority.

        Raises:
            SettingsError: its file cannot be read (code `ssh-ca-unreadable`).
        """
        public = self._ca.with_name(f"{self._ca.name}.pub")
        try:
            return (" ".join(public.read_text(encoding="utf-8").split()[:2]),)
        except OSError as exc:
            raise SettingsError(
                f"the public key of the SSH authority cannot be read: {exc}",
                code="ssh-ca-unreadable",
                remedy="set `hosts.ca_key_file` in the environment profile to a key with its `.pub` beside it",
            ) from exc

    def read(self, tenant: str) -> dict[str, HostKey]:
        """Return the known hosts of a tenant: `joining.KnownHosts`."""
        try:
            return parse_known_hosts(self.files(tenant).known_hosts.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    def write(self, tenant: str, keys: dict[str, HostKey]) -> None:
        """Replace the known hosts of a tenant."""
        _replace(self.files(tenant).known_hosts, render_known_hosts(keys))

    def files(self, tenant: str) -> SshFiles:
        """Return where a tenant's files lie."""
        place = self.home / tenant
        return SshFiles(
            config=place / "ssh_config",
            key=place / "id_ed25519",
            certificate=place / "id_ed25519-cert.pub",
            known_hosts=place / "known_hosts",
        )

    def prepare(self, tenant: str, hosts: Sequence[HostTarget]) -> SshFiles:
        """Write `ssh_config` and see that the certificate is good for a while; returns the files."""
        files = self.files(tenant)
        _replace(files.config, render_ssh_config(hosts, files, self._route))
        if not files.known_hosts.exists():
            _replace(files.known_hosts, "")
        self.ensure_certificate(tenant)
        return files

    def ensure_certificate(self, tenant: str) -> None:
        """Have a certificate that enters this tenant's hosts, and no other's, for half an hour.

        Raises:
            OutsideError: ssh-keygen failed (code `ssh-keygen`).
        """
        files = self.files(tenant)
        if _age_s(files.certificate) < CERTIFICATE_MINUTES * 60 - _RENEW_BEFORE_S:
            return
        files.key.parent.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_DIRECTORY)
        if not files.key.exists():
            _keygen("-t", "ed25519", "-N", "", "-C", f"mutx-infra {tenant}", "-f", str(files.key))
        _keygen(
            "-s", str(self._ca), "-I", f"{getpass.getuser()}@{socket.gethostname()} for {tenant}",
            "-n", naming.converge_principal(tenant), "-V", f"{_CLOCK_SKEW}:+{CERTIFICATE_MINUTES}m",
            "-O", "clear", "-O", "permit-pty", "-O", "permit-port-forwarding",
            "-z", str(time.time_ns() // 1000), f"{files.key}.pub",
        )  # fmt: skip


def _keygen(*arguments: str) -> None:
    command = ["ssh-keygen", "-q", *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise _keygen_failed(str(exc)) from exc
    if done.returncode != 0:
        raise _keygen_failed(done.stderr.strip())


def _keygen_failed(detail: str) -> OutsideError:
    return OutsideError(
        "ssh-keygen could not make a key or certificate",
        code="ssh-keygen",
        remedy="see that OpenSSH's client is installed and that `hosts.ca_key_file` is a private key of mode 0600",
        detail=detail,
    )


def _age_s(file: Path) -> float:
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_DIRECTORY)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(
        os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE), "w", encoding="utf-8"
    ) as out:
        out.write(text)
    temporary.replace(path)
