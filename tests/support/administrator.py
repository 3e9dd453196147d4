"""A tenant's administrator: a folder of their own, a certificate of the tenant's authority, and the installed CLI."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutx_infra.cli.app import run

from mutx_infra.byok import Product
from mutx_infra.vault.handover import Handover, Machine
from mutx_infra.vault_ports import ClientCertificate
from tests.support.vault import RunningVault

PROGRAM = str(Path(sys.executable).parent / "mutx-infra")
LIMIT_S = 120


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Administrator:
    """Attributes:
    folder: where they work; nothing of the platform is in it.
    said: everything that their commands printed.
    """

    vault: RunningVault
    folder: Path
    machines: tuple[Machine, ...] = ()
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hand_over(handover_of(self.vault, self.machines))

    @property
    def shown(self) -> ClientCertificate:
        return self.vault.tenant_ca.client(self.folder, "ann@acme.example")

    def hand_over(self, handover: Handover) -> None:
        (self.folder / f"{self.vault.tenant}.vault.json").write_text(handover.text())

    def run(
        self,
        *arguments: str,
        expect: int | None = 0,
        given: str | None = None,
        installed: bool = False,
        **variables: str,
    ) -> Done:
        """Run `mutx-infra vault …` as they would: in this process, which is quicker, or the installed program."""
        start = run_installed if installed else run_here
        done = start(["vault", *arguments], self.folder, {**self.variables(), **variables}, given)
        self.said += [done.stdout, done.stderr]
        if expect is not None:
            assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, expect: int = 0, given: str | None = None) -> Any:
        """Return what a command prints as JSON."""
        return json.loads(self.run(*arguments, "--json", expect=expect, given=given).stdout)

    def refusal(self, *arguments: str, given: str | None = None, **variables: str) -> tuple[str, int]:
        """Return the code and the exit status of a command that fails."""
        done = self.run(*arguments, expect=None, given=given, **variables)
        assert done.stderr.count("error[") == 1, done.stderr
        return done.stderr.partition("error[")[2].partition("]")[0], done.returncode

    def variables(self) -> dict[str, str]:
        shown = self.shown
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "VAULT_CLIENT_CERT": str(shown.certificate),
            "VAULT_CLIENT_KEY": str(shown.key),
        }


def run_installed(
    arguments: list[str], folder: Path, variables: Mapping[str, str], given: str | None
) -> Done:
    """Run the installed program."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        cwd=folder,
        env=dict(variables),
        input=given or "",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def run_here(arguments: list[str], folder: Path, variables: Mapping[str, str], given: str | None) -> Done:
    """Run the command line in this process, as if it were started in a folder, without a terminal."""
    before, kept, stdin, argv = Path.cwd(), dict(os.environ), sys.stdin, sys.argv
    out, err = io.StringIO(), io.StringIO()
    try:
        os.chdir(folder)
        os.environ.update(variables)
        sys.argv, sys.stdin = ["mutx-infra", *arguments], io.StringIO(given or "")
        with redirect_stdout(out), redirect_stderr(err):
            status = run()
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(kept)
        sys.stdin, sys.argv = stdin, argv
    return Done(status, out.getvalue(), err.getvalue())


def handover_of(vault: RunningVault, machines: tuple[Machine, ...] = ()) -> Handover:
    """Return what the platform's operator hands over."""
    return Handover(
        tenant=vault.tenant,
        url=vault.url,
        authority=vault.server_ca.pem,
        admin_ca=vault.tenant_ca.pem,
        seal=vault.seal.type,
        release="0.1.0",
        digests=vault.layout.digests(),
        machines=machines,
        product=vault.product,
        platform_ca=None if vault.product is Product.OPENBAO else vault.platform_ca.pem,
    )
