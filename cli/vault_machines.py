"""`mutx-infra vault enroll|ssh-sign`: who may log in: hosts to the Vault, operators to hosts, by the tenant's leave."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli import vault_entrance as v
from mutx_infra.cli.output import Format, Output

from mutx_infra import bootstrap_vault
from mutx_infra.errors import RefusedError

if TYPE_CHECKING:
    from mutx_infra.vault.enrolment import Candidate

_CERTIFICATES = Path("certificates")


def add_to(app: typer.Typer) -> None:
    """Add the commands to a group."""
    app.command(epilog="Example: mutx-infra vault enroll acme acme-agent-1")(enroll)
    example = "Example: mutx-infra vault ssh-sign acme ~/.ssh/id_ed25519.pub --principal converge@acme"
    app.command("ssh-sign", epilog=example)(ssh_sign)


def enroll(
    tenant: v.TenantArgument,
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="[HOST]...", help="By name or key: acme-agent-1 or agent-1.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All that have made a request and are not enrolled yet.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Replace an enrolment: what was signed for the host is revoked.")
    ] = False,
    folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where the certificates go.")
    ] = _CERTIFICATES,
    yes: c.YesOption = False,
    vault: v.VaultOption = None,
    cert: v.CertOption = None,
    key: v.KeyOption = None,
    address: v.AddressOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Let hosts log in to the Vault, once you have seen who asks: name, role, address and the key's fingerprint."""
    from mutx_infra.vault.enrolment import choose  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    entrance = v.Way(tenant, vault, cert, key, address).entrance()
    with v.entered(entrance) as session:
        enrolment = bootstrap_vault.make_enrolment(entrance.handover, session)
        chosen = choose(enrolment, hosts or (), every=every)
        written = []
        for candidate in chosen:
            path = folder / f"{candidate.machine.name}.pem"
            _approve(out, tenant, candidate, yes=yes)
            enrolment.enroll(candidate, partial(bootstrap_vault.write_certificate, path), again=again)
            written.append((candidate, path))
            out.say(f"{candidate.machine.name} is enrolled; its certificate is {path}")
    if out.format is Format.JSON:
        out.data(
            {
                "tenant": tenant,
                "enrolled": [{**_json(each), "certificate": str(path)} for each, path in written],
            }
        )
    elif not written:
        out.say("nobody waits to be enrolled")


def ssh_sign(
    tenant: v.TenantArgument,
    public_key: Annotated[
        Path, typer.Argument(metavar="PUBKEY", help="The operator's public key: a .pub file.")
    ],
    principal: Annotated[
        str, typer.Option("--principal", metavar="NAME", help="Whom the certificate lets in as.")
    ],
    minutes: Annotated[int, typer.Option("--minutes", metavar="N", help="For how long: 30 at most.")] = 30,
    vault: v.VaultOption = None,
    cert: v.CertOption = None,
    key: v.KeyOption = None,
    address: v.AddressOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Let an operator in to the tenant's hosts for half an hour at most, by a certificate; never as root."""
    from mutx_infra.vault.operators import sign_operator  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    text = bootstrap_vault.read_file(public_key).decode("utf-8", "replace")
    entrance = v.Way(tenant, vault, cert, key, address).entrance()
    with v.entered(entrance) as session:
        signed = sign_operator(session, entrance.handover, text, principal, minutes)
    # Where ssh looks for it by itself.
    path = public_key.with_name(f"{public_key.name.removesuffix('.pub')}-cert.pub")
    bootstrap_vault.write_certificate(path, signed)
    out.say(f"{path} is good for {principal} for {minutes} minutes")
    if out.format is Format.JSON:
        out.data({"tenant": tenant, "principal": principal, "minutes": minutes, "certificate": str(path)})


def _approve(out: Output, tenant: str, candidate: Candidate, *, yes: bool) -> None:
    """Show who asks, and have it approved."""
    machine = candidate.machine
    if not (yes and out.quiet):
        out.say(f"{machine.name}: {machine.role}, {machine.key}, logs in from {machine.address} alone")
        out.say(f"  key SHA-256 {candidate.request.fingerprint}")
    if yes:
        return
    refused = RefusedError(
        f"{machine.name} was not approved, and is not enrolled",
        code="not-confirmed",
        remedy=f"compare the fingerprint with the host's, then `mutx-infra vault enroll {tenant} {machine.name} --yes`",
    )
    c.require_typed(machine.name, "to let it in", refused)


def _json(candidate: Candidate) -> dict[str, object]:
    machine = candidate.machine
    return {
        "host": machine.name,
        "key": machine.key,
        "role": machine.role,
        "address": str(machine.address),
        "fingerprint": candidate.request.fingerprint,
    }
