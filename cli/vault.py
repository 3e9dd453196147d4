"""`mutx-infra vault …`: what an administrator of a tenant does with its Vault, by a certificate of the tenant's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli import (
    vault_check,
    vault_init,
    vault_initialise,
    vault_keys,
    vault_machines,
    vault_policy,
    vault_shred,
)
from mutx_infra.cli import vault_entrance as v
from mutx_infra.cli.output import ConsoleReporter, Format, Output, emit

from mutx_infra import bootstrap_vault, naming
from mutx_infra.errors import UsageError

if TYPE_CHECKING:
    from mutx_infra.vault.claim import Claimed
    from mutx_infra.vault.handover import Handover
    from mutx_infra.vault.readback import Compared
    from mutx_infra.vault_ports import Holders, RecoveryShare

app = typer.Typer(
    no_args_is_help=True, help="A tenant's own Vault: claimed, filled and shredded by the tenant."
)

_STDOUT = "-"
vault_init.add_to(app)
vault_initialise.add_to(app)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a claim leaves what it makes; shares on stdout have no folder."""

    shares: Path | None
    receipt: Path

    def share(self, share: RecoveryShare) -> str:
        return str(self.shares / share.file_name) if self.shares is not None else ""


@app.command(
    epilog="Example: mutx-infra vault claim acme --pgp-key ann.asc --pgp-key bob.asc --pgp-key eve.asc"
)
def claim(
    tenant: v.TenantArgument,
    pgp_keys: v.PgpKeysOption,
    threshold: v.ThresholdOption = None,
    principals: Annotated[
        list[str] | None,
        typer.Option("--principal", metavar="NAME", help="That operators' SSH certificates may name (repeat it). "
                     "Default: converge@TENANT."),
    ] = None,
    shares: Annotated[
        str | None,
        typer.Option("--shares", metavar="FOLDER|-", help="Where the encrypted shares go. Default: TENANT-recovery/."),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option("--receipt", metavar="FILE", help="Where the receipt goes. Default: TENANT.claim.json."),
    ] = None,
    initialised: Annotated[
        Path | None,
        typer.Option("--initialised", metavar="FILE", help="What `vault initialise` wrote, where the server is "
                     "HashiCorp's. Default: TENANT.initialise.json."),
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
    """Take the tenant's Vault over: recovery keys and SSH authority of its own, and the platform's access ends."""
    from mutx_infra.vault.claim import make_holders  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress)
    holders = make_holders(bootstrap_vault.read_pgp_keys(pgp_keys), threshold)
    places = _Places(_shares_folder(out, tenant, shares), receipt or Path(f"{tenant}.claim.json"))
    files = bootstrap_vault.claim_folder(places.shares, emit, places.receipt)
    entrance = v.Way(tenant, vault, cert, key, address).entrance()
    with v.entered(entrance) as session:
        begun = initialised or Path(f"{tenant}.initialise.json")
        claiming = bootstrap_vault.make_claiming(entrance, session, files, begun)
        named = principals or [naming.converge_principal(tenant)]
        claimed = claiming.claim(holders, named, ConsoleReporter(out))
    if out.format is Format.JSON:
        out.data(_claimed_json(tenant, claimed, holders, places))
        return
    _show_claimed(out, entrance.handover, claimed, holders, places)


def _shares_folder(out: Output, tenant: str, shares: str | None) -> Path | None:
    if shares != _STDOUT:
        return Path(shares or f"{tenant}-recovery")
    if out.format is Format.JSON:
        raise UsageError(
            "shares and JSON cannot both go to standard output",
            code="shares-and-json",
            remedy="name a folder with `--shares`, or leave `--json` out",
        )
    return None


def _show_claimed(
    out: Output, handover: Handover, claimed: Claimed, holders: Holders, places: _Places
) -> None:
    """Show what whom is whose now; on stderr where the shares have taken stdout."""
    rows = [*_held_rows(handover, claimed, holders, places), *_gone_rows(handover, claimed)]
    if places.shares is None:
        for row in rows:
            out.say("  ".join(row))
        return
    if claimed.was_before:
        out.say(f"{handover.tenant} is claimed already, with these keys; nothing was changed")
    out.table(("whose", "what", "which"), rows)
    emit("\n")
    out.table(
        ("policy or role", "digest", "against the hand-over"), _compared_rows(handover, claimed.compared)
    )


def _held_rows(
    handover: Handover, claimed: Claimed, holders: Holders, places: _Places
) -> list[tuple[str, str, str]]:
    paths = {share.key.fingerprint: places.share(share) for share in claimed.shares}
    shares = [
        ("tenant", "recovery share", f"{key.holder or key.fingerprint}"
         + (f": {path}" if (path := paths.get(key.fingerprint)) else ""))
        for key in holders.keys
    ]  # fmt: skip
    return [
        ("tenant", "administrators", "whoever has a client certificate of the authority in its spec"),
        ("tenant", "seal", handover.seal),
        *shares,
        ("tenant", "recovery threshold", f"{holders.threshold} of {len(holders.keys)}"),
        ("tenant", "SSH authority", claimed.ssh_authority),
        ("tenant", "receipt", str(places.receipt)),
    ]


def _gone_rows(handover: Handover, claimed: Claimed) -> list[tuple[str, str, str]]:
    from mutx_infra.vault.products import TRAITS  # noqa: PLC0415 - keeps the other commands quick

    by = (
        "the server itself when it was made"
        if TRAITS[handover.product].makes_itself
        else "`vault initialise`"
    )
    return [
        ("nobody", "root token", f"revoked by {by}"),
        ("nobody", "mutx-onboarder", f"the role is deleted, {claimed.revoked} tokens were revoked"),
        ("nobody", "platform's SSH authority", "hosts leave it for the tenant's when they next look"),
        ("platform", "mutx-operator", "sees from the Vault host whether the nodes keep up, and nothing else"),
    ]


def _compared_rows(handover: Handover, compared: tuple[Compared, ...]) -> list[tuple[str, str, str]]:
    from mutx_infra.vault.layout import ONBOARDER  # noqa: PLC0415 - keeps the other commands quick

    known = {f"role {machine.name}": "enrolled" for machine in handover.machines}
    known[f"role {ONBOARDER}"] = "ended by this claim"
    return [
        (
            each.name,
            each.found or each.expected or "",
            each.said if each.said == "same" else known.get(each.name, each.said),
        )
        for each in compared
    ]


def _claimed_json(tenant: str, claimed: Claimed, holders: Holders, places: _Places) -> dict[str, object]:
    return {
        "tenant": tenant,
        "was_claimed_before": claimed.was_before,
        "cluster": claimed.receipt.receipt.cluster,
        "receipt": str(places.receipt),
        "threshold": holders.threshold,
        "shares": [
            {"holder": share.key.holder, "fingerprint": share.key.fingerprint, "file": places.share(share)}
            for share in claimed.shares
        ],
        "ssh_authority": claimed.ssh_authority,
        "revoked_tokens": claimed.revoked,
        "compared": [
            {"name": each.name, "expected": each.expected, "found": each.found, "verdict": each.said}
            for each in claimed.compared
        ],
    }  # fmt: skip


# After `claim`, which comes first.
vault_machines.add_to(app)
vault_keys.add_to(app)
vault_shred.add_to(app)
app.add_typer(vault_policy.app, name="policy")
vault_check.add_to(app)
