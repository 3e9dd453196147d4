"""The operator's part of `mutx-infra vault …`: bring a Vault up, hand it over, take down that it was claimed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.host_progress import HostConsole
from mutx_infra.cli.host_views import show_run
from mutx_infra.cli.output import ConsoleReporter, Format
from mutx_infra.cli.vault_views import handed_json, read_given, show_handed

from mutx_infra import bootstrap
from mutx_infra.bootstrap_custody import make_custody, require_token_file
from mutx_infra.building import bring_up_vault
from mutx_infra.errors import RefusedError, UsageError
from mutx_infra.hardening import HostsFailedError

_SUFFIXES = {".crt", ".pem"}


def add_to(app: typer.Typer) -> None:
    """Add the operator's commands to the group `vault`."""
    app.command(epilog="Example: mutx-infra vault init acme")(init)
    app.command(epilog="Example: mutx-infra vault certificates acme -f certificates/")(certificates)
    app.command("handed-over", epilog="Example: mutx-infra vault handed-over acme -f acme.claim.json")(
        handed_over
    )


def init(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    seal_token_file: Annotated[
        Path | None,
        typer.Option(
            "--seal-token-file", metavar="FILE", help="Token for a transit key, in a file of mode 0600."
        ),
    ] = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
    verbose: c.VerboseOption = False,
) -> None:
    """Bring up a tenant's Vault, hold it against what was published, write the file that its tenant claims it by."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress, verbose=verbose)
    token = None if seal_token_file is None else require_token_file(seal_token_file)
    process, settings, report = bootstrap.this_process(), c.current_settings(environment), HostConsole(out)
    custody = make_custody(process, settings)
    if custody.needs_token(tenant) and token is None:
        raise RefusedError(
            f"the Vault of {tenant} is sealed by a key in its tenant's own Vault, whose token is missing",
            code="seal-token-missing",
            remedy="have the tenant make a token for that key alone, and give its file with `--seal-token-file`",
        )
    care = bootstrap.make_host_care(process, settings, token)
    try:
        handed = bring_up_vault(tenant, care, custody, report)
    except HostsFailedError as exc:
        show_run(out, tenant, exc.configured)
        raise
    if out.format is Format.JSON:
        out.data(handed_json(handed))
    else:
        show_handed(out, handed)


def certificates(
    tenant: c.TenantArgument,
    file: Annotated[
        list[Path],
        typer.Option(
            "--file", "-f", metavar="FILE|FOLDER", help="What the tenant signed: *.crt and *.pem (repeat it)."
        ),
    ],
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Keep the certificates that a tenant gives back for its hosts; the next run of the playbooks brings them."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    texts = [read_given(path) for given in file for path in _files(given)]
    hosts = make_custody(bootstrap.this_process(), c.current_settings(environment)).take_certificates(
        tenant, texts
    )
    if out.format is Format.JSON:
        out.data({"tenant": tenant, "hosts": list(hosts)})
        return
    out.table(("host", "certificate"), [(host, "kept") for host in hosts])
    out.say(f"`mutx-infra hosts harden {tenant}` brings them to their hosts")


def handed_over(
    tenant: c.TenantArgument,
    file: Annotated[
        Path, typer.Option("--file", "-f", metavar="RECEIPT", help="The receipt that `vault claim` wrote.")
    ],
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
) -> None:
    """Take down that a tenant has claimed its Vault: from then on the platform enters none of its hosts."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress)
    custody = make_custody(bootstrap.this_process(), c.current_settings(environment))
    record = custody.take_claim(tenant, read_given(file), ConsoleReporter(out))
    handed_over_at = record.handed_over_at.isoformat() if record.handed_over_at else None
    if out.format is Format.JSON:
        out.data({"tenant": tenant, "state": str(record.state), "handed_over_at": handed_over_at})
        return
    out.table(("tenant", tenant), [("state", str(record.state)), ("handed over", handed_over_at or "-")])


def _files(given: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    found = sorted(path for path in given.iterdir() if path.suffix in _SUFFIXES)
    if not found:
        raise UsageError(
            f"{given} holds no certificate",
            code="certificates-none",
            remedy="name a folder with files *.crt or *.pem, or the files themselves",
        )
    return found
