"""`mutx-infra vault policy render|diff|apply`: what this release's policies say, and whether a Vault has them."""

from __future__ import annotations

from typing import Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli import vault_entrance as v
from mutx_infra.cli.output import Format, emit

from mutx_infra import bootstrap_vault
from mutx_infra.errors import CHANGES_PENDING, UsageError

app = typer.Typer(no_args_is_help=True, help="The policies of tenants' Vaults: the same for all of them.")


@app.command(epilog="Example: mutx-infra vault policy render agent")
def render(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One policy. Default: all.")] = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Print policies as this release renders them; needs no Vault."""
    from mutx_infra.vault.layout import digest_of  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output)
    texts = bootstrap_vault.policy_texts()
    if name is not None and name not in texts:
        raise UsageError(
            f"there is no policy {name!r}", code="policy-unknown", remedy=f"name one of {', '.join(texts)}"
        )
    chosen = texts if name is None else {name: texts[name]}
    if out.format is Format.JSON:
        policies = [{"name": n, "policy": text, "sha256": digest_of(text)} for n, text in chosen.items()]
        out.data({"policies": policies})
        return
    if name is not None:
        emit(texts[name])
        return
    emit("\n".join(f"# {n}, SHA-256 {digest_of(text)}\n{text}" for n, text in texts.items()))


@app.command(epilog="Example: mutx-infra vault policy diff acme")
def diff(
    tenant: v.TenantArgument,
    vault: v.VaultOption = None,
    cert: v.CertOption = None,
    key: v.KeyOption = None,
    address: v.AddressOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Hold a Vault's policies against this release's. Exits 10 where they differ."""
    from mutx_infra.vault.policies import differences  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output)
    with v.entered(v.Way(tenant, vault, cert, key, address).entrance()) as session:
        found = differences(session, bootstrap_vault.policy_texts())
    if out.format is Format.JSON:
        told = [{"name": each.name, "wanted": each.wanted, "found": each.found} for each in found]
        out.data({"tenant": tenant, "differences": told})
    else:
        emit("".join(f"{line}\n" for each in found for line in each.lines()))
    if found:
        raise typer.Exit(CHANGES_PENDING)


@app.command(epilog="Example: mutx-infra vault policy apply acme")
def apply(
    tenant: v.TenantArgument,
    vault: v.VaultOption = None,
    cert: v.CertOption = None,
    key: v.KeyOption = None,
    address: v.AddressOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Put this release's policies in force, by an administrator's certificate; the tenant's own policies stay."""
    from mutx_infra.vault.policies import apply_policies  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    with v.entered(v.Way(tenant, vault, cert, key, address).entrance()) as session:
        written = apply_policies(session, bootstrap_vault.policy_texts())
    out.say(f"written: {', '.join(written)}" if written else "nothing to do")
    if out.format is Format.JSON:
        out.data({"tenant": tenant, "written": list(written)})
