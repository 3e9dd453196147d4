"""A claim or a shredding that kills itself: `python -m tests.support.killed claim|shred FOLDER N`.

SIGKILL comes right after its Nth change. FOLDER is an administrator's: with the hand-over file, for a claim with
`ann.asc` and `bob.asc` too. The environment names the certificate. Exits 0 where it ends before its Nth change.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mutx_infra.cli.output import ConsoleReporter, Output

from mutx_infra import bootstrap, bootstrap_vault
from mutx_infra.vault.claim import make_holders
from mutx_infra.vault_ports import VaultSession


class Dying:
    """A session that the process does not survive: `left` changes are made, and the last one is answered to nobody."""

    def __init__(self, inner: VaultSession, left: int) -> None:
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
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(what: str, folder: Path, number: int) -> None:
    process = bootstrap.this_process()
    handover = bootstrap_vault.load_handover(folder / "acme.vault.json", "acme")
    shown = (Path(process.variables["VAULT_CLIENT_CERT"]), Path(process.variables["VAULT_CLIENT_KEY"]))
    entrance = bootstrap_vault.find_entrance(process, handover, None, *shown)
    report, session = ConsoleReporter(Output(quiet=True)), Dying(entrance.enter(), number)
    if what == "shred":
        bootstrap_vault.make_shredding(entrance, session, None, folder / "acme.shred.json").shred(report)
        return
    files = bootstrap_vault.claim_folder(folder / "acme-recovery", print, folder / "acme.claim.json")
    holders = make_holders(bootstrap_vault.read_pgp_keys([folder / "ann.asc", folder / "bob.asc"]), None)
    bootstrap_vault.make_claiming(entrance, session, files).claim(holders, ["converge@acme"], report)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
