"""What a run of the playbooks did, as tables and as JSON; no rules here."""

from __future__ import annotations

from mutx_infra.cli.output import Format, Output

from mutx_infra.host_records import Configured, HostOutcome


def show_run(out: Output, tenant: str, configured: Configured) -> None:
    """Print it, with what differs where that was asked for."""
    if out.format is Format.JSON:
        out.data({"tenant": tenant, **configured.model_dump(mode="json")})
        return
    out.table(
        ("host", "state", "tasks", "changed", "reason"),
        [(o.host, str(o.state), str(o.tasks), str(len(o.changes)), o.reason) for o in configured.hosts],
    )
    for outcome in configured.changed:
        for line in _differences(outcome):
            out.say(line)
    out.say(f"{configured.summary()} in {configured.duration_s:.1f} s; printed: {configured.artifacts}")


def _differences(outcome: HostOutcome) -> list[str]:
    return [
        line
        for change in outcome.changes
        if change.difference
        for line in (
            f"{outcome.host}: {change.task}",
            *(f"  {text}" for text in change.difference.splitlines()),
        )
    ]
