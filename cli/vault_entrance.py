"""Options of the commands that a tenant's administrator runs, and the way in that they describe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mutx_infra import bootstrap, bootstrap_vault
from mutx_infra.bootstrap_vault import Entrance

if TYPE_CHECKING:
    from mutx_infra.vault_ports import VaultSession

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")]
VaultOption = Annotated[
    Path | None,
    typer.Option("--vault", metavar="FILE", help="The hand-over file. Default: TENANT.vault.json."),
]
CertOption = Annotated[
    Path | None,
    typer.Option("--cert", metavar="FILE", envvar="VAULT_CLIENT_CERT", help="Your client certificate."),
]
KeyOption = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", envvar="VAULT_CLIENT_KEY", help="Its key.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="URL", envvar="VAULT_ADDR", help="Of the Vault, if not as in the hand-over file."
    ),
]
PgpKeysOption = Annotated[
    list[Path],
    typer.Option("--pgp-key", metavar="FILE", help="Public key of one who gets a share (repeat it)."),
]
ThresholdOption = Annotated[
    int | None,
    typer.Option("--threshold", metavar="N", help="Shares that are needed. Default: more than half of them."),
]


@dataclass(frozen=True, slots=True)
class Way:
    """What the options say about the way into a tenant's Vault."""

    tenant: str
    vault: Path | None
    cert: Path | None
    key: Path | None
    address: str | None

    def entrance(self) -> Entrance:
        """Return the way in; nothing is asked of the Vault yet."""
        file = self.vault if self.vault is not None else Path(f"{self.tenant}.vault.json")
        handover = bootstrap_vault.load_handover(file, self.tenant)
        return bootstrap_vault.find_entrance(
            bootstrap.this_process(), handover, self.address, self.cert, self.key
        )


@contextmanager
def entered(entrance: Entrance) -> Iterator[VaultSession]:
    """Log in as one of the tenant's administrators, and end the token afterwards."""
    session = entrance.enter()
    try:
        yield session
    finally:
        session.end()
