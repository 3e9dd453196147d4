"""`mutx-infra platform …`: what all tenants share. It is built, verified and recorded like a tenant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli import tenant
from mutx_infra.cli.output import ConsoleReporter, Format
from mutx_infra.cli.tenant_views import allocation_rows, record_json

from mutx_infra import bootstrap
from mutx_infra.errors import RefusedError, SpecError
from mutx_infra.profile_fields import (
    BACKEND_URL,
    SECRETS_PROVIDER,
    archive_account,
    archive_text,
    profile_fields,
)
from mutx_infra.records import TenantRecord
from mutx_infra.tenant import PLATFORM_ID

app = typer.Typer(
    no_args_is_help=True, help="What all tenants share: API host, database, Vault, buckets, keys."
)

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file", "-f", metavar="SPEC", help="The platform's spec. Default: platform/platform.yaml."
    ),
]


@app.command(epilog="Example: mutx-infra platform preview")
def preview(
    file: FileOption = None,
    environment: c.EnvironmentOption = None,
    refresh: c.RefreshOption = True,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show the plan and what it would change; touch nothing. Exits 10 when something would change."""
    tenant.preview_spec(_spec(file), environment, refresh=refresh, output=output, as_json=as_json)


@app.command(epilog="Example: mutx-infra platform create")
def create(
    file: FileOption = None,
    environment: c.EnvironmentOption = None,
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="DIGEST", help="Refuse any plan but the one previewed.")
    ] = None,
    refresh: c.RefreshOption = True,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
    verbose: c.VerboseOption = False,
) -> None:
    """Create the platform from its spec, or converge it; ends in a check of what is there."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress, verbose=verbose)
    made = tenant.create_spec(_spec(file), environment, out, refresh=refresh, digest=plan, hosts=False)
    out.say(f"log archive: {archive_text(made.plan.account, made.plan.archive_account)}")


@app.command(epilog="Example: mutx-infra platform show")
def show(
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show the platform: hosts, buckets, keys, and what an environment profile takes from it."""
    out = c.make_output(as_json=as_json, output=output)
    settings = c.current_settings(environment)
    endpoint = bootstrap.load_environment(settings.require_environment()).aws.endpoint_url
    onboarding = c.onboarding_for(environment)
    record = next((found for found in onboarding.tenants() if found.spec.id == PLATFORM_ID), None)
    if record is None:
        raise RefusedError(
            "this environment has no platform yet",
            code="platform-missing",
            remedy="make it: `mutx-infra platform create`",
        )
    if out.format is Format.JSON:
        out.data({**record_json(record), "profile": profile_fields(record, endpoint)})
        return
    rows = [*allocation_rows(record), *_shared_rows(record), *_profile_rows(profile_fields(record, endpoint))]
    out.table(("platform", record.spec.region), rows)


@app.command("move-state", epilog="Example: mutx-infra platform move-state")
def move_state(
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="State backend. Default: the platform's own bucket."),
    ] = None,
    secrets_provider: Annotated[
        str | None,
        typer.Option("--secrets-provider", metavar="URL", help="Key URL. Default: the platform's own key."),
    ] = None,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
    progress: c.ProgressOption = True,
) -> None:
    """Move the platform's state out of the profile's backend; prints the profile's fields to change."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet, progress=progress)
    process = bootstrap.this_process()
    state = bootstrap.make_platform_state(process, bootstrap.settings_of(process, environment))
    place, done = state.move(to, secrets_provider, ConsoleReporter(out))
    fields = {BACKEND_URL: place.backend_url, SECRETS_PROVIDER: place.secrets_provider}
    if out.format is Format.JSON:
        out.data({"profile": fields, "resources": done.resources, "moved": done.is_new})
        return
    out.table(("platform", ""), [("resources", str(done.resources)), *_profile_rows(fields)])
    out.say("change these fields in the profile" if done.is_new else "it is there already; nothing was moved")


def _spec(file: Path | None) -> Path:
    path = file or (c.current_settings().project or Path()) / "platform" / "platform.yaml"
    if not path.exists():
        raise SpecError(
            f"the platform's spec {path} does not exist",
            code="spec-not-found",
            remedy=f"make one: `mutx-infra spec init {PLATFORM_ID} --region REGION --tier platform -f {path}`",
        )
    return path


def _shared_rows(record: TenantRecord) -> list[tuple[str, ...]]:
    outputs = record.outputs
    buckets = outputs.get("buckets")
    rows: list[tuple[str, ...]] = [
        (f"bucket {key}", str(name))
        for key, name in sorted(buckets.items() if isinstance(buckets, dict) else ())
    ]
    return [
        *rows,
        ("log archive", archive_text(record.allocation.account, archive_account(record))),
        ("signing key", str(outputs.get("signing_key_arn", "-"))),
        ("auditor", str(outputs.get("auditor_role_arn", "-"))),
    ]


def _profile_rows(fields: dict[str, str]) -> list[tuple[str, ...]]:
    return [(f"profile {field}", value) for field, value in fields.items()]
