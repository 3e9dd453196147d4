"""`mutx-infra hosts …`: bring a tenant's hosts up to the playbooks, and look whether they are as they should be."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.host_progress import HostConsole
from mutx_infra.cli.host_views import show_run
from mutx_infra.cli.output import Format, Output, emit

from mutx_infra import bootstrap
from mutx_infra.errors import CHANGES_PENDING, VerificationError
from mutx_infra.evidence import Check, Verdict
from mutx_infra.hardening import Audit, HostCare, HostsFailedError

app = typer.Typer(no_args_is_help=True, help="Harden a tenant's hosts by the playbooks, and check them.")

_AS_IT_SHOULD_BE = {Verdict.PASS, Verdict.NOT_APPLICABLE}

HostsOption = Annotated[
    list[str] | None,
    typer.Option("--host", metavar="NAME", help="This host alone, e.g. agent-1 (may be repeated)."),
]


@app.command("list", epilog="Example: mutx-infra hosts list acme")
def list_(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """List a tenant's hosts: role, address, how SSH gets there, what they accept."""
    out = c.make_output(as_json=as_json, output=output)
    inventory = _care(environment).inventory(tenant)
    if out.format is Format.JSON:
        out.data(inventory.model_dump(mode="json"))
        return
    out.table(
        ("host", "role", "zone", "address", "ssh", "accepts"),
        [
            (
                host.name,
                str(host.role),
                host.zone,
                str(host.target.private_ip),
                f"through {host.jump}" if host.jump else "over the tailnet",
                ", ".join(sorted({f"{rule.port}/{rule.protocol}" for rule in host.incoming})),
            )
            for host in inventory.hosts
        ],
    )


@app.command(epilog="Example: mutx-infra hosts inventory acme > inventory.json")
def inventory(
    tenant: c.TenantArgument, environment: c.EnvironmentOption = None, host: HostsOption = None
) -> None:
    """Print the inventory for plain `ansible-playbook` and `pytest --hosts`; it holds no secret."""
    emit(
        bootstrap.render_inventory(
            c.current_settings(environment), _care(environment).inventory(tenant, tuple(host or ()))
        )
    )


@app.command(epilog="Example: mutx-infra hosts harden acme")
def harden(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    host: HostsOption = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only hosts that did not come through the last run.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Say what would change; change nothing. Exits 10 if something would."),
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="With --check: show what differs, line by line.")
    ] = False,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
    verbose: c.VerboseOption = False,
) -> None:
    """Bring the hosts up to the playbooks; safe to run twice and to stop anywhere."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress, verbose=verbose)
    care, report, hosts = _care(environment), HostConsole(out), tuple(host or ())
    try:
        if check or diff:
            configured = care.preview(tenant, report, hosts=hosts, diff=diff)
        else:
            configured = care.harden(tenant, report, hosts=hosts, failed_only=failed)
    except HostsFailedError as exc:
        show_run(out, tenant, exc.configured)
        raise
    show_run(out, tenant, configured)
    if (check or diff) and configured.changed:
        raise typer.Exit(CHANGES_PENDING)


@app.command(epilog="Example: mutx-infra hosts check acme")
def check(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    host: HostsOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
    verbose: c.VerboseOption = False,
) -> None:
    """Look at every control on every host and keep what was seen as evidence; exits 6 if one fails or is unknown."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress, verbose=verbose)
    audit = _care(environment).check(tenant, HostConsole(out), hosts=tuple(host or ()))
    _show_audit(out, audit, everything=verbose)
    if failures := audit.bundle.failures:
        raise VerificationError(
            f"{len(failures)} check(s) of {tenant}'s hosts are not as they should be",
            code="hosts-not-as-wanted",
            remedy=f"run `mutx-infra hosts harden {tenant}`, then check again; what must stay goes into the waivers",
        )


def _care(environment: str | None) -> HostCare:
    return bootstrap.make_host_care(bootstrap.this_process(), c.current_settings(environment))


def _show_audit(out: Output, audit: Audit, *, everything: bool) -> None:
    bundle = audit.bundle
    if out.format is Format.JSON:
        out.data({**json.loads(bundle.content), "digest": bundle.digest, "path": audit.path})
        return
    shown = [check for check in bundle.checks if everything or check.verdict not in _AS_IT_SHOULD_BE]
    if shown:
        columns = ("verdict", "control", "host", "what", "seen", "wanted", "remedy or reason")
        out.table(columns, [_row(check) for check in shown])
    counts = ", ".join(f"{number} {verdict}" for verdict, number in bundle.counts.items())
    out.say(f"{counts}; evidence {bundle.digest[:19]} in {audit.path}")


def _row(check: Check) -> tuple[str, ...]:
    return (
        str(check.verdict),
        check.control,
        check.target,
        check.title,
        check.seen,
        check.wanted,
        check.reason or check.remedy,
    )
