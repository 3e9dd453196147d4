"""`mutx-infra vault initialise`: the tenant makes its Vault from its own machine, where the server cannot by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli import vault_entrance as v
from mutx_infra.cli.output import ConsoleReporter, Format, Output, emit

from mutx_infra import bootstrap_vault

if TYPE_CHECKING:
    from mutx_infra.vault.initialising import Initialised
    from mutx_infra.vault_ports import Holders


def add_to(app: typer.Typer) -> None:
    """Mount the command."""
    app.command(
        epilog="Example: mutx-infra vault initialise acme --pgp-key ann.asc --pgp-key bob.asc --pgp-key eve.asc"
    )(initialise)


def initialise(
    tenant: v.TenantArgument,
    pgp_keys: v.PgpKeysOption,
    threshold: v.ThresholdOption = None,
    shares: Annotated[
        Path | None,
        typer.Option("--shares", metavar="FOLDER", help="Where the encrypted shares go. Default: TENANT-recovery/."),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Where goes what the claim asks for. Default: "
                     "TENANT.initialise.json."),
    ] = None,
    audit_log: Annotated[
        str | None,
        typer.Option("--audit-log", metavar="PATH", help="Where the server logs, on its host. Default: as the role has "
                     "it."),
    ] = None,
    vault: v.VaultOption = None,
    cert: v.CertOption = None,
    key: v.KeyOption = None,
    address: v.AddressOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
) -> None:  # fmt: skip
    """Make the tenant's Vault, where the server is HashiCorp's: recovery keys, audit log, policies, engines, logins."""
    from mutx_infra.vault.claim import make_holders  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress)
    holders = make_holders(bootstrap_vault.read_pgp_keys(pgp_keys), threshold)
    folder, kept = shares or Path(f"{tenant}-recovery"), record or Path(f"{tenant}.initialise.json")
    files = bootstrap_vault.claim_folder(folder, emit, kept)
    entrance = v.Way(tenant, vault, cert, key, address).entrance()
    initialising = bootstrap_vault.make_initialising(entrance, files, audit_log)
    made = initialising.initialise(holders, ConsoleReporter(out))
    if out.format is Format.JSON:
        out.data(_as_json(tenant, made, holders, folder, kept))
        return
    _show(out, tenant, made, holders, folder, kept)


def _show(out: Output, tenant: str, made: Initialised, holders: Holders, folder: Path, kept: Path) -> None:
    if made.was_before:
        out.say(f"{tenant} is initialised already, with these keys; nothing was changed")
    paths = {share.key.fingerprint: str(folder / share.file_name) for share in made.shares}
    out.table(
        ("whose", "what", "which"),
        [
            *(
                ("tenant", "recovery share", f"{key.holder or key.fingerprint}"
                 + (f": {path}" if (path := paths.get(key.fingerprint)) else ""))
                for key in holders.keys
            ),
            ("tenant", "recovery threshold", f"{holders.threshold} of {len(holders.keys)}"),
            ("tenant", "record", str(kept)),
            ("nobody", "root token", "revoked as soon as administrators could log in"),
        ],
    )  # fmt: skip
    emit("\n")
    out.table(("policy or login", "SHA-256"), sorted(made.digests.items()))
    out.say(f"tell the platform's operator, whose `mutx-infra vault init {tenant}` now hands the Vault over")


def _as_json(tenant: str, made: Initialised, holders: Holders, folder: Path, kept: Path) -> dict[str, object]:
    return {
        "tenant": tenant,
        "was_initialised_before": made.was_before,
        "cluster": made.receipt.receipt.cluster,
        "record": str(kept),
        "threshold": holders.threshold,
        "shares": [
            {"holder": share.key.holder, "fingerprint": share.key.fingerprint, "file": str(folder / share.file_name)}
            for share in made.shares
        ],
        "digests": {**made.digests},
    }  # fmt: skip
