"""What the platform keeps of tenants' Vaults, in files: no secret, and nothing that cannot be had again but receipts.

Each tenant has a directory: the hand-over file, `authorities/HOST.pem`, `certificates/HOST.pem`, `KIND-receipt.json`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from mutx_infra.errors import OutsideError
from mutx_infra.vault.handover import Handover, parse_handover

_DIRECTORY, _FILE = 0o700, 0o600


class VaultFiles:
    """`CustodyFiles` below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def authorities(self, tenant: str) -> Mapping[str, str]:
        """Return each Vault host's own authority, PEM by host name."""
        return _by_host(self._root / tenant / "authorities")

    def keep_authorities(self, tenant: str, authorities: Mapping[str, str]) -> None:
        """Keep them in place of those before."""
        place = self._root / tenant / "authorities"
        for host in self.authorities(tenant).keys() - authorities.keys():
            (place / f"{host}.pem").unlink()
        for host, text in authorities.items():
            _replace(place / f"{host}.pem", text)

    def certificates(self, tenant: str) -> Mapping[str, str]:
        """Return what the tenant signed for its hosts, PEM by host name."""
        return _by_host(self._root / tenant / "certificates")

    def keep_certificate(self, tenant: str, host: str, certificate: str) -> None:
        """Keep one of these."""
        _replace(self._root / tenant / "certificates" / f"{host}.pem", certificate)

    def handover(self, tenant: str) -> Handover | None:
        """Return what was written for the tenant last."""
        path = self._handover(tenant)
        text = _read(path)
        return None if text is None else parse_handover(text, str(path))

    def keep_handover(self, handover: Handover) -> str:
        """Write the file for the tenant."""
        path = self._handover(handover.tenant)
        _replace(path, handover.text())
        return str(path)

    def keep_receipt(self, tenant: str, kind: str, text: str) -> str:
        """Keep what the tenant signed."""
        path = self._root / tenant / f"{kind}-receipt.json"
        _replace(path, text)
        return str(path)

    def forget(self, tenant: str) -> None:
        """Remove all but receipts: a tenant that is made anew has another Vault."""
        for kind in ("authorities", "certificates"):
            shutil.rmtree(self._root / tenant / kind, ignore_errors=True)
        self._handover(tenant).unlink(missing_ok=True)

    def _handover(self, tenant: str) -> Path:
        return self._root / tenant / f"{tenant}.vault.json"


def _by_host(place: Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(place.glob("*.pem"))}


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=_DIRECTORY, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(temporary, flags, _FILE), "w", encoding="utf-8") as out:
            out.write(text)
        temporary.replace(path)
    except OSError as exc:
        raise OutsideError(
            f"{path} cannot be written: {exc.strerror}",
            code="vault-file-unwritable",
            remedy="free space or correct the rights there, then run the same command",
        ) from exc
