"""`mutx-infra tenant …`: from a short spec to a verified network, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli import guide, history
from mutx_infra.cli.host_progress import HostConsole
from mutx_infra.cli.host_views import show_run
from mutx_infra.cli.output import ConsoleReporter, Format, Output
from mutx_infra.cli.policy_views import policy_rows
from mutx_infra.cli.tenant_views import (
    allocation_rows,
    built_json,
    change_rows,
    destruction_json,
    estimate_rows,
    plan_rows,
    preview_json,
    record_json,
    status_json,
    status_rows,
    tombstone_rows,
)
from mutx_infra.cli.vault_views import read_given, show_handed

from mutx_infra.building import with_hosts, with_vault
from mutx_infra.errors import CHANGES_PENDING, SpecError
from mutx_infra.onboarding import Outcome
from mutx_infra.prices import estimate
from mutx_infra.records import RunKind
from mutx_infra.tenant import PLATFORM_ID
from mutx_infra.vault.attestation import ShredProof

if TYPE_CHECKING:
    from mutx_infra.adapters.spec_file import LoadedSpec

app = typer.Typer(no_args_is_help=True, help="Create, look at and destroy tenants.")

SpecOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="SPEC", help="The tenant's spec. Default: tenants/TENANT.yaml."),
]
HostsOption = Annotated[
    bool, typer.Option("--hosts/--no-hosts", help="Harden the hosts at the end, where the profile says how.")
]
OptionalTenant = Annotated[
    str | None, typer.Argument(metavar="[TENANT]", help="The tenant's id.", autocompletion=c.tenant_names)
]


@app.command(epilog="Example: mutx-infra tenant preview -f tenants/acme.yaml")
def preview(
    tenant: OptionalTenant = None,
    file: SpecOption = None,
    environment: c.EnvironmentOption = None,
    refresh: c.RefreshOption = True,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show the plan and what it would change; touch nothing. Exits 10 when something would change."""
    spec = c.spec_path(tenant, file)
    preview_spec(spec, environment, refresh=refresh, output=output, as_json=as_json)


def preview_spec(
    spec: Path, environment: str | None, *, refresh: bool, output: Format, as_json: bool
) -> None:
    """Show what a spec's file would change."""
    loaded = _load(spec)
    with _located(loaded):
        seen = c.onboarding_for(environment).preview(loaded.spec, loaded.files, refresh=refresh)
    out = c.make_output(as_json=as_json, output=output)
    if out.format is Format.JSON:
        out.data(preview_json(seen))
    else:
        out.table(("plan", ""), plan_rows(seen.plan))
        out.table(("a month, about", ""), estimate_rows(estimate(seen.plan, datetime.now(UTC).date())))
        out.table(("change", "resource", "type", "fields"), change_rows(seen.changes))
        if seen.access is not None and not seen.access.is_empty:
            out.table(("tailnet", "who", "access"), policy_rows(seen.access))
        for shortage in seen.shortages:
            out.say(f"missing: {shortage.text}; {shortage.remedy}")
        out.say(f"{seen.changes.summary()}; execute exactly this with `--plan {seen.plan.digest[:19]}`")
    if not seen.is_empty:
        raise typer.Exit(CHANGES_PENDING)


@app.command(epilog="Example: mutx-infra tenant create -f tenants/acme.yaml")
def create(
    tenant: OptionalTenant = None,
    file: SpecOption = None,
    environment: c.EnvironmentOption = None,
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="DIGEST", help="Refuse any plan but the one previewed.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and change nothing, as `preview`.")
    ] = False,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            "--replace", metavar="NAME", help="Allow this resource, which holds data, to be replaced."
        ),
    ] = None,
    yes: c.YesOption = False,
    hosts: HostsOption = True,
    refresh: c.RefreshOption = True,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
    verbose: c.VerboseOption = False,
) -> None:
    """Create a tenant from its spec, or converge it where it exists: network, check of what is live, hosts.

    On a terminal, without a spec, it asks for what the spec needs, shows the plan, and asks before it makes anything.
    """
    if dry_run:
        preview(tenant, file, environment, refresh, output, as_json)
        return
    is_guided = file is None and guide.is_possible() and not (tenant and c.spec_path(tenant, None).exists())
    spec = guide.ask_for_spec(tenant) if is_guided else c.spec_path(tenant, file)
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress, verbose=verbose)
    create_spec(
        spec,
        environment,
        out,
        refresh=refresh,
        digest=plan,
        replace=tuple(replace or ()),
        must_confirm=is_guided and not yes,
        hosts=hosts,
    )


def create_spec(
    spec: Path,
    environment: str | None,
    out: Output,
    *,
    refresh: bool,
    digest: str | None,
    replace: tuple[str, ...] = (),
    must_confirm: bool = False,
    hosts: bool = True,
) -> Outcome:
    """Create what a spec's file describes, and show it."""
    loaded = _load(spec)
    onboarding = c.onboarding_for(environment)
    with _located(loaded):
        if must_confirm:
            seen = onboarding.preview(loaded.spec, loaded.files, refresh=refresh)
            guide.confirm(seen)
            digest = digest or seen.plan.digest
        report = HostConsole(out)
        outcome = onboarding.create(
            loaded.spec, loaded.files, report, refresh=refresh, digest=digest, replace=replace
        )
    _finish(outcome, environment, report, out, hosts=hosts)
    return outcome


@app.command(epilog="Example: mutx-infra tenant resume acme")
def resume(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
    verbose: c.VerboseOption = False,
) -> None:
    """Finish what the tenant's last run left, be it a create or a destroy."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress, verbose=verbose)
    report = HostConsole(out)
    outcome = c.onboarding_for(environment).resume(tenant, report)
    if outcome is not None:
        _finish(outcome, environment, report, out)
    elif out.format is Format.JSON:
        out.data({"tenant": tenant, "state": "destroyed"})


@app.command("list", epilog="Example: mutx-infra tenant list --json")
def list_(
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """List the tenants of the environment."""
    out = c.make_output(as_json=as_json, output=output)
    records = [r for r in c.onboarding_for(environment).tenants() if r.spec.id != PLATFORM_ID]
    if out.format is Format.JSON:
        out.data({"tenants": [record_json(record) for record in records]})
        return
    out.table(
        ("tenant", "state", "tier", "region", "block", "vpc"),
        [
            (
                r.spec.id,
                r.state,
                r.spec.tier,
                r.allocation.region,
                str(r.allocation.block),
                str(r.outputs.get("vpc_id", "-")),
            )
            for r in records
        ],
    )


@app.command(epilog="Example: mutx-infra tenant show acme")
def show(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show one tenant: spec, allocation and the ids of its network."""
    out = c.make_output(as_json=as_json, output=output)
    record = c.onboarding_for(environment).require(tenant)
    if out.format is Format.JSON:
        out.data(record_json(record))
        return
    out.table(("tenant", tenant), [*allocation_rows(record)])


@app.command(epilog="Example: mutx-infra tenant outputs acme | jq .outputs.vpc_id")
def outputs(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Print the stack's outputs: what later stages and pipelines read."""
    out = c.make_output(as_json=as_json, output=output)
    record = c.onboarding_for(environment).require(tenant)
    if out.format is Format.JSON:
        out.data({"tenant": tenant, "outputs": record.outputs})
        return
    out.table(("output", "value"), [(key, _flat(value)) for key, value in sorted(record.outputs.items())])


@app.command(epilog="Example: mutx-infra tenant status acme")
def status(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show the state, the last run's steps, and who holds the lock."""
    out = c.make_output(as_json=as_json, output=output)
    onboarding = c.onboarding_for(environment)
    run, lease = onboarding.last_run(tenant), onboarding.lease(tenant)
    # The journal outlives the tenant: a destroyed one still has a last run to show.
    record = next((r for r in onboarding.tenants() if r.spec.id == tenant), None)
    if record is None and run is None:
        onboarding.require(tenant)
    lease = lease if lease is not None and lease.expires_at > datetime.now(UTC) else None
    if out.format is Format.JSON:
        out.data(status_json(tenant, record, run, lease))
        return
    out.table(("status", tenant), status_rows(record, run, lease))


@app.command("history", epilog="Example: mutx-infra tenant history acme")
def history_(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """List every update of a tenant; `mutx-infra history` shows, compares and verifies them."""
    history.list_(tenant, environment, output, as_json)


@app.command(epilog="Example: mutx-infra tenant rollback acme --to 3")
def rollback(
    tenant: c.TenantArgument,
    to: Annotated[
        int, typer.Option("--to", metavar="N", min=1, help="The history entry whose spec comes back.")
    ],
    file: SpecOption = None,
    environment: c.EnvironmentOption = None,
    yes: c.YesOption = False,
    refresh: c.RefreshOption = True,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
    verbose: c.VerboseOption = False,
) -> None:
    """Bring an earlier spec back as a new plan, and write it into the spec's file."""
    from mutx_infra.adapters.spec_file import SpecFolder  # noqa: PLC0415

    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress, verbose=verbose)
    onboarding = c.onboarding_for(environment)
    onboarding.require(tenant)
    spec = history.history_for(environment).spec(tenant, to)
    files = SpecFolder(c.spec_path(tenant, file), tenant)
    seen = onboarding.preview(spec, files, refresh=refresh)
    if not yes:
        for row in change_rows(seen.changes):
            out.say("  " + "  ".join(row).rstrip())
        for row in policy_rows(seen.access) if seen.access else ():
            out.say("  tailnet: " + "  ".join(row).rstrip())
        out.say(f"This brings {tenant} back to the spec of entry {to}: {seen.changes.summary()}.")
        _confirm(tenant, f"mutx-infra tenant rollback {tenant} --to {to} --yes")
    report = HostConsole(out)
    outcome = onboarding.create(
        spec, files, report, refresh=refresh, digest=seen.plan.digest, kind=RunKind.ROLLBACK
    )
    files.write_spec(spec, to)
    out.say(f"{files.spec_path} now holds that spec; commit it")
    _finish(outcome, environment, report, out)


@app.command(epilog="Example: mutx-infra tenant destroy acme --yes")
def destroy(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    shred_receipt: Annotated[
        Path | None,
        typer.Option(
            "--shred-receipt", metavar="FILE", help="That the tenant shredded its Vault, as it signed it."
        ),
    ] = None,
    unattested: Annotated[
        bool,
        typer.Option(
            "--unattested",
            help="Go on without that receipt once the notice has run; it stays in the history.",
        ),
    ] = False,
    yes: c.YesOption = False,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
    verbose: c.VerboseOption = False,
) -> None:
    """Keep a tenant's logs, delete everything, prove that nothing else is left, free its block."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress, verbose=verbose)
    onboarding = c.onboarding_for(environment)
    record = onboarding.require(tenant)
    if not yes:
        out.say(
            f"This deletes {tenant}: {record.allocation.block} in {record.allocation.region}, with all that is in it."
        )
        _confirm(tenant, f"mutx-infra tenant destroy {tenant} --yes")
    receipt = read_given(shred_receipt) if shred_receipt is not None else ""
    done = onboarding.destroy(tenant, ConsoleReporter(out), ShredProof(receipt, unattested))
    c.forget_vault(environment, tenant, receipt)
    if out.format is Format.JSON:
        out.data(destruction_json(tenant, done))
        return
    out.table(("left on purpose", "number", "until"), tombstone_rows(done.tombstones))


@app.command(epilog="Example: mutx-infra tenant unlock acme")
def unlock(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    yes: c.YesOption = False,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Break a lock whose owner is dead on a machine that this one cannot see."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    onboarding = c.onboarding_for(environment)
    lease = onboarding.lease(tenant)
    if not yes:
        out.say(
            f"{tenant} is locked by {lease.owner}." if lease else f"No process holds a lease on {tenant}."
        )
        _confirm(tenant, f"mutx-infra tenant unlock {tenant} --yes")
    broken = onboarding.unlock(tenant)
    out.say(f"unlocked {tenant}" + (f", which {broken.owner} held" if broken else ""))
    if out.format is Format.JSON:
        out.data(
            {"tenant": tenant, "was_locked_by": broken.owner.model_dump(mode="json") if broken else None}
        )


def _finish(
    outcome: Outcome, environment: str | None, report: HostConsole, out: Output, *, hosts: bool = True
) -> None:
    """Have the hosts follow their stack, and show both."""
    care = c.care_on_create(environment, report) if hosts else None
    built = with_vault(with_hosts(outcome, care, report), care, c.custody_on_create(environment), report)
    outcome = built.outcome
    tenant = outcome.record.spec.id
    if out.format is Format.JSON:
        out.data(built_json(built))
    else:
        out.table(("tenant", tenant), [*allocation_rows(outcome.record)])
        if built.configured is not None:
            show_run(out, tenant, built.configured)
        if built.handed is not None:
            show_handed(out, built.handed)
    if built.failure is not None:
        raise built.failure


@contextmanager
def _located(loaded: LoadedSpec) -> Iterator[None]:
    """Give the core's refusal of a spec's field the file and line of that field."""
    try:
        yield
    except SpecError as exc:
        raise loaded.located(exc) from exc


def _load(path: Path) -> LoadedSpec:
    from mutx_infra.adapters.spec_file import load_spec  # noqa: PLC0415

    return load_spec(path)


def _confirm(tenant: str, command: str) -> None:
    """Have the operator type the tenant's name; refuse where nobody can."""
    c.require_typed(tenant, "to go on", c.not_confirmed(command))


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_flat(inner)}" for key, inner in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
