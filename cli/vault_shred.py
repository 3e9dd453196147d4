"""`mutx-infra vault shred`: the tenant ends its Vault, so that no copy of its storage opens again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli import vault_entrance as v
from mutx_infra.cli.output import ConsoleReporter, Format, Output

from mutx_infra import bootstrap, bootstrap_vault
from mutx_infra.errors import OutsideError

if TYPE_CHECKING:
    from mutx_infra.bootstrap_vault import Entrance
    from mutx_infra.vault.handover import Handover
    from mutx_infra.vault.shredding import Shredded
    from mutx_infra.vault_ports import SealKey


def add_to(app: typer.Typer) -> None:
    """Add the command to a group."""
    app.command(epilog="Example: mutx-infra vault shred acme --seal-token-file transit.token")(shred)


def shred(
    tenant: v.TenantArgument,
    seal_token: Annotated[
        Path | None,
        typer.Option(
            "--seal-token-file",
            metavar="FILE",
            help="Token of your own Vault that may delete the key of the seal.",
        ),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option("--receipt", metavar="FILE", help="Where the receipt goes. Default: TENANT.shred.json."),
    ] = None,
    yes: c.YesOption = False,
    vault: v.VaultOption = None,
    cert: v.CertOption = None,
    key: v.KeyOption = None,
    address: v.AddressOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
) -> None:
    """Destroy everything in the tenant's Vault and the key that seals it; leaves a signed receipt."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress)
    entrance = v.Way(tenant, vault, cert, key, address).entrance()
    seal_key = bootstrap_vault.find_seal_key(bootstrap.this_process(), entrance.handover, seal_token)
    if not yes:
        _confirm(out, entrance.handover, seal_key)
    kept = receipt or Path(f"{tenant}.shred.json")
    done = _shred(entrance, seal_key, kept, out)
    out.say(f"the Vault of {tenant} is shredded; give the receipt {kept} to the platform's operator")
    if done.next_step:
        out.say(f"still to do: {done.next_step}")
    if out.format is Format.JSON:
        out.data(
            {
                "tenant": tenant,
                "receipt": str(kept),
                "seal_key_destroyed": done.is_seal_key_gone,
                "next_step": done.next_step,
                "details": done.receipt.receipt.details,
            }
        )


def _shred(entrance: Entrance, seal_key: SealKey | None, kept: Path, out: Output) -> Shredded:
    try:
        is_open = not entrance.vault.health().is_sealed
    except OutsideError as exc:
        # A node whose seal's key is gone does not even start: a shredding that was begun here is finished.
        if exc.code != "vault-unreachable" or not kept.exists():
            raise
        is_open = False
    if not is_open:
        return bootstrap_vault.finish_shredding(entrance, seal_key, kept)
    with v.entered(entrance) as session:
        return bootstrap_vault.make_shredding(entrance, session, seal_key, kept).shred(ConsoleReporter(out))


def _confirm(out: Output, handover: Handover, seal_key: SealKey | None) -> None:
    """Say what ends, and have the tenant's name typed."""
    from mutx_infra.vault.shredding import next_step  # noqa: PLC0415 - keeps the other commands quick

    tenant, seal = handover.tenant, handover.sealed_by
    out.say(
        f"This destroys the Vault of {tenant} at {handover.url} for ever: every key in every version, every login,"
    )
    out.say("every authority. Agents stop. Nothing brings it back, no backup, no recovery key.")
    if seal_key is not None and seal is not None and seal.type == "transit":
        out.say(
            f"The key {seal.key} of {seal.mount} at {seal.address} is deleted: whatever else it seals is lost too."
        )
    else:
        out.say(f"Afterwards, so that no copy of the storage opens: {next_step(handover)}")
    c.require_typed(tenant, "to go on", c.not_confirmed(f"mutx-infra vault shred {tenant} --yes"))
