"""`mutx-infra vault check`: what the auditor sees of a tenant's Vault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.output import Format, Output

from mutx_infra import bootstrap, bootstrap_vault_check
from mutx_infra.errors import UsageError, VerificationError
from mutx_infra.evidence import Check, Verdict
from mutx_infra.vault.parties import Who

if TYPE_CHECKING:
    from mutx_infra.vault.checking import Checked
    from mutx_infra.vault_ports import ClientCertificate

_SHOWABLE = tuple(who for who in Who if who not in {Who.ANYBODY, Who.STRANGER})
_GOOD = {Verdict.PASS, Verdict.NOT_APPLICABLE}


def add_to(app: typer.Typer) -> None:
    """Mount the command."""
    app.command(epilog="Example: mutx-infra vault check acme --as operator=operator.pem,operator.key")(check)


def check(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")],
    shown: Annotated[
        list[str] | None,
        typer.Option(
            "--as", metavar="WHO=CERT,KEY",
            help=f"Files to try as somebody: {', '.join(_SHOWABLE)} (may be repeated). Without any, what needs them "
            "is unknown.",
        ),
    ] = None,
    vault: Annotated[
        Path | None,
        typer.Option("--vault", metavar="FILE", help="Hand-over file. Default: TENANT.vault.json."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="URL", envvar="VAULT_ADDR", help="Where the Vault is reached from here."),
    ] = None,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    verbose: c.VerboseOption = False,
) -> None:  # fmt: skip
    """Try to break every claim about a tenant's Vault, and keep the verdicts as evidence; exits 6 if one fails."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, verbose=verbose)
    with bootstrap_vault_check.vault_check(
        bootstrap.this_process(),
        tenant,
        vault or Path(f"{tenant}.vault.json"),
        address,
        dict(_parsed(text) for text in shown or ()),
        environment,
    ) as look:
        checked = look.run(lambda made: out.say(f"{made.verdict}: {made.title}") if verbose else None)
    _show(out, checked, everything=verbose)
    if failures := checked.bundle.failures:
        raise VerificationError(
            f"{len(failures)} claim(s) about the Vault of {tenant} are not kept, or could not be tried",
            code="vault-not-as-claimed",
            remedy="see the remedy beside each; what is unknown needs the certificates that `--as` names",
        )


def _parsed(text: str) -> tuple[Who, ClientCertificate]:
    from mutx_infra.vault_ports import ClientCertificate  # noqa: PLC0415 - keeps the other commands quick

    who, _, files = text.partition("=")
    certificate, _, key = files.partition(",")
    if who not in _SHOWABLE or not certificate or not key:
        raise UsageError(
            f"`--as {text}` does not say who shows which files",
            code="vault-as-invalid",
            remedy=f"write `--as WHO=CERT,KEY`, WHO being one of {', '.join(_SHOWABLE)}",
        )
    return Who(who), ClientCertificate(Path(certificate), Path(key))


def _show(out: Output, checked: Checked, *, everything: bool) -> None:
    bundle = checked.bundle
    if out.format is Format.JSON:
        out.data({**json.loads(bundle.content), "digest": bundle.digest, "path": checked.path})
        return
    rows = [_row(check) for check in bundle.checks if everything or check.verdict not in _GOOD]
    if rows:
        out.table(("verdict", "control", "what", "seen", "wanted", "reason or remedy"), rows)
    counts = ", ".join(f"{number} {verdict}" for verdict, number in bundle.counts.items())
    out.say(f"{counts}; evidence {bundle.digest[:19]} in {checked.path}")


def _row(check: Check) -> tuple[str, ...]:
    return (
        str(check.verdict),
        check.control,
        check.title,
        check.seen,
        check.wanted,
        check.reason or check.remedy,
    )
