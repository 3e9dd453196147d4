"""`mutx-infra archive …`: the logs of tenants that are gone; each object proved unchanged before it is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.output import Format, emit

from mutx_infra import bootstrap
from mutx_infra.archive import LogArchive
from mutx_infra.errors import RefusedError, VerificationError

app = typer.Typer(no_args_is_help=True, help="Logs of tenants that are gone.")

SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="From this time on (ISO 8601; UTC without zone)."),
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time.")]
GroupOption = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="GROUP", help="Only this log group; again for more. Default: all."),
]


@app.command("list", epilog="Example: mutx-infra archive list acme")
def list_(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """List the log groups that are kept of a tenant, also of one that is gone."""
    out = c.make_output(as_json=as_json, output=output)
    archive = _archive_for(environment)
    _require_known(archive, tenant)
    manifests = archive.manifests(tenant)
    if out.format is Format.JSON:
        out.data({"tenant": tenant, "groups": [one.model_dump(mode="json") for one in manifests]})
        return
    out.table(
        ("tenant made", "group", "kept for", "events", "first", "last", "streams"),
        [
            (
                one.life,
                one.group,
                f"{one.retention_days} days" + (f" ({one.control})" if one.control else ""),
                str(one.events),
                _time(one.first),
                _time(one.last),
                str(len(one.streams)),
            )
            for one in manifests
        ],
    )


@app.command(epilog="Example: mutx-infra archive events acme --group hosts --since 2026-01-01")
def events(
    tenant: c.TenantArgument,
    group: GroupOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    environment: c.EnvironmentOption = None,
) -> None:
    """Print events in the order of their times, one JSON object a line."""
    archive = _archive_for(environment)
    begin, end = _moment(since, "--since"), _moment(until, "--until")
    _require_known(archive, tenant, *(group or ()))
    for folder, event in archive.events(tenant, group or (), begin, end):
        named = {
            "timestamp": event.timestamp,
            "time": _time(event.timestamp),
            "ingestion_time": event.ingestion_time,
            "tenant_made": folder.life,
            "group": folder.group,
            "stream": event.stream,
            "message": event.message,
        }
        emit(f"{json.dumps(named)}\n")


@app.command(epilog="Example: mutx-infra archive verify acme")
def verify(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Compare every object with its manifest, name and lock; exits 6 and names the first that is not right."""
    out = c.make_output(as_json=as_json, output=output)
    archive = _archive_for(environment)
    _require_known(archive, tenant)
    problems = list(archive.problems(tenant))
    if problems:
        raise VerificationError(
            f"the archive of {tenant} is not what was written: {problems[0]}",
            code="archive-broken",
            remedy="keep the store as it is, and find out who wrote to it; what was written first can still be read, "
            "unless it was changed",
            detail="\n".join(problems[1:]),
        )
    manifests = archive.manifests(tenant)
    number = sum(one.events for one in manifests)
    if out.format is Format.JSON:
        out.data({"tenant": tenant, "groups": len(manifests), "events": number, "is_whole": True})
        return
    out.say(f"{number} events of {len(manifests)} log groups are whole")


def _archive_for(environment: str | None) -> LogArchive:
    return bootstrap.make_archive(c.current_settings(environment))


def _require_known(archive: LogArchive, tenant: str, *groups: str) -> None:
    known = {folder.group for folder in archive.folders(tenant)}
    unknown = sorted(set(groups) - known)
    if known and not unknown:
        return
    raise RefusedError(
        f"nothing is kept of {unknown[0]} of {tenant}" if known else f"nothing is kept of {tenant}",
        code="archive-unknown",
        remedy=f"kept are: {', '.join(sorted(known))}"
        if known
        else "logs are archived when a tenant is destroyed; check the name and `--environment`",
    )


def _moment(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise typer.BadParameter(f"{text!r} is no time of ISO 8601", param_hint=option) from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _time(ms: int | None) -> str:
    if ms is None:
        return "-"
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
