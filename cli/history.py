"""`mutx-infra history …`: who changed what of a tenant, when; proved unchanged each time it is read."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.output import Format

from mutx_infra import bootstrap
from mutx_infra.errors import RefusedError
from mutx_infra.history import Entry, History, difference

app = typer.Typer(no_args_is_help=True, help="Who changed what of a tenant, and when.")

NumberArgument = Annotated[int, typer.Argument(metavar="N", min=1, help="The entry's number.")]
SHOWN_CHANGES = 20


@app.command("list", epilog="Example: mutx-infra history list acme")
def list_(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """List every update of a tenant, also of one that is gone; exits 6 where somebody changed the history."""
    out = c.make_output(as_json=as_json, output=output)
    history = history_for(environment)
    entries = history.entries(tenant)
    if not entries:
        raise RefusedError(
            f"nothing was written down about {tenant} in this environment",
            code="history-unknown",
            remedy="`mutx-infra tenant list` shows the tenants; check `--environment`",
        )
    if out.format is Format.JSON:
        out.data(
            {
                "tenant": tenant,
                "retention_days": history.require_retention(),
                "entries": [entry_json(entry) for entry in entries],
            }
        )
        return
    out.table(
        ("n", "started", "by", "what", "outcome", "changes", "plan"),
        [
            (
                str(entry.sequence),
                entry.started_at.isoformat(timespec="seconds"),
                entry.by,
                entry.kind,
                entry.outcome,
                entry.changes.summary(),
                entry.plan_digest[:19],
            )
            for entry in entries
        ],
    )


@app.command(epilog="Example: mutx-infra history show acme 3")
def show(
    tenant: c.TenantArgument,
    number: NumberArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show one update: spec, changes and, with --json, the whole plan."""
    out = c.make_output(as_json=as_json, output=output)
    history = history_for(environment)
    entry = history.entry(tenant, number)
    if out.format is Format.JSON:
        out.data({**entry_json(entry), "plan": history.plan(entry)})
        return
    out.table(("entry", str(entry.sequence)), _entry_rows(entry))


@app.command(epilog="Example: mutx-infra history diff acme 1 2")
def diff(
    tenant: c.TenantArgument,
    one: Annotated[int, typer.Argument(metavar="A", min=1, help="The older entry's number.")],
    other: Annotated[int, typer.Argument(metavar="B", min=1, help="The newer entry's number.")],
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show where the specs and plans of two updates differ."""
    out = c.make_output(as_json=as_json, output=output)
    history = history_for(environment)
    entries = history.chosen(tenant, one, other)
    before, after = ({"spec": entry.spec, "plan": history.plan(entry)} for entry in entries)
    found = list(difference(before, after))
    if out.format is Format.JSON:
        out.data(
            {
                "tenant": tenant,
                "from": one,
                "to": other,
                "differences": [{"path": path, "from": old, "to": new} for path, old, new in found],
            }
        )
        return
    out.table(("field", f"in {one}", f"in {other}"), found)
    if not found:
        out.say("spec and plan are the same")


@app.command(epilog="Example: mutx-infra history verify acme")
def verify(
    tenant: c.TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Prove that no entry, plan or state was changed or removed; exits 6 where one was."""
    out = c.make_output(as_json=as_json, output=output)
    history = history_for(environment)
    days = history.require_retention()
    entries = history.entries(tenant)
    if out.format is Format.JSON:
        out.data({"tenant": tenant, "entries": len(entries), "retention_days": days, "is_whole": True})
        return
    kept = (
        f"the store refuses to delete them for {days} days" if days else "the store cannot refuse a deletion"
    )
    out.say(f"{len(entries)} entries are whole; {kept}")


def history_for(environment: str | None) -> History:
    """Return the history of the chosen environment."""
    return bootstrap.make_history(c.current_settings(environment))


def entry_json(entry: Entry) -> dict[str, object]:
    """Return an entry for programs."""
    return entry.model_dump(mode="json")


def _entry_rows(entry: Entry) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("what", f"{entry.kind}, {entry.outcome}" + (f": {entry.error}" if entry.error else "")),
        ("by", entry.by),
        ("started", entry.started_at.isoformat(timespec="seconds")),
        ("ended", entry.ended_at.isoformat(timespec="seconds")),
        ("plan", entry.plan_digest),
        ("changes", entry.changes.summary()),
        ("hash", entry.hash),
    ]
    rows += [(f"spec {name}", _shown(value)) for name, value in entry.spec.items()]
    rows += [
        (change.operation, f"{change.name} {', '.join(change.fields)}".strip())
        for change in entry.changes.changes[:SHOWN_CHANGES]
    ]
    left = len(entry.changes.changes) - SHOWN_CHANGES
    return [*rows, ("…", f"{left} more; --json shows all")] if left > 0 else rows


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
