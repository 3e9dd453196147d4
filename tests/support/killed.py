"""A command that kills itself: `python -m tests.support.killed claim|initialise|shred FOLDER N [LOG]`.

SIGKILL comes right after its Nth change. FOLDER is an administrator's: with the hand-over file, and with `ann.asc` and
`bob.asc` where somebody gets shares. LOG is where a server logs that is initialised. The environment names the
certificate. Exits 0 where it ends before its Nth change.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mutx_infra.cli.output import ConsoleReporter, Output
from pydantic import SecretStr

from mutx_infra import bootstrap, bootstrap_vault
from mutx_infra.adapters.hvac_vault import HvacVault
from mutx_infra.vault.claim import make_holders
from mutx_infra.vault_ports import ClientCertificate, Holders, VaultAddress, VaultSession


@dataclass
class Left:
    """How many changes are made before the end."""

    changes: int


class Dying:
    """A session that the process does not survive: the last change that is left is answered to nobody."""

    def __init__(self, inner: VaultSession, left: Left) -> None:
        self._inner, self._left = inner, left

    def read(self, path: str) -> Mapping[str, Any] | None:
        return self._inner.read(path)

    def write(self, path: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self._inner.write(path, data)
        # A question, though it is asked by a write.
        if path != "auth/token/lookup-accessor":
            self._count()
        return answer

    def list(self, path: str) -> tuple[str, ...]:
        return self._inner.list(path)

    def delete(self, path: str) -> None:
        self._inner.delete(path)
        self._count()

    def end(self) -> None:
        self._inner.end()

    def _count(self) -> None:
        self._left.changes -= 1
        if self._left.changes == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class DyingVault(HvacVault):
    """A Vault whose sessions all count."""

    def __init__(self, address: VaultAddress, left: Left) -> None:
        super().__init__(address)
        self._left = left

    def unknown(self) -> VaultSession:  # type: ignore[override]
        return Dying(super().unknown(), self._left)

    def with_token(self, token: SecretStr) -> VaultSession:  # type: ignore[override]
        return Dying(super().with_token(token), self._left)

    def login(self, shown: ClientCertificate, role: str) -> VaultSession:  # type: ignore[override]
        return Dying(super().login(shown, role), self._left)


def main(what: str, folder: Path, number: int, audit_log: str = "") -> None:
    process = bootstrap.this_process()
    handover = bootstrap_vault.load_handover(folder / "acme.vault.json", "acme")
    shown = (Path(process.variables["VAULT_CLIENT_CERT"]), Path(process.variables["VAULT_CLIENT_KEY"]))
    entrance = bootstrap_vault.find_entrance(process, handover, None, *shown)
    report = ConsoleReporter(Output(quiet=True))
    if what == "initialise":
        address = VaultAddress(handover.url, handover.authority)
        files = bootstrap_vault.claim_folder(folder / "acme-recovery", print, folder / "acme.initialise.json")
        dying = replace(entrance, vault=DyingVault(address, Left(number)))
        bootstrap_vault.make_initialising(dying, files, audit_log).initialise(_holders(folder), report)
        return
    session = Dying(entrance.enter(), Left(number))
    if what == "shred":
        bootstrap_vault.make_shredding(entrance, session, None, folder / "acme.shred.json").shred(report)
        return
    files = bootstrap_vault.claim_folder(folder / "acme-recovery", print, folder / "acme.claim.json")
    claiming = bootstrap_vault.make_claiming(entrance, session, files, folder / "acme.initialise.json")
    claiming.claim(_holders(folder), ["converge@acme"], report)


def _holders(folder: Path) -> Holders:
    return make_holders(bootstrap_vault.read_pgp_keys([folder / "ann.asc", folder / "bob.asc"]), None)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
