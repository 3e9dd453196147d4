"""`mutx-infra tailnet grant|revoke|granted`: an operator's way in for a while, with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.output import ConsoleReporter, Format

from mutx_infra import bootstrap, bootstrap_tailnet

if TYPE_CHECKING:
    from mutx_infra.tailnet.leave import LeaveDesk
    from mutx_infra.tailnet_ports import Leave

LoginArgument = Annotated[str, typer.Argument(metavar="LOGIN", help="An operator, as the profile has it.")]
TenantArgument = Annotated[
    str,
    typer.Argument(metavar="TENANT", help="Whose hosts; or `platform`.", autocompletion=c.tenant_names),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to a group."""
    example = (
        'Example: mutx-infra tailnet grant alice@example.com acme --for 2h --reason "INC-42: agent hangs"'
    )
    app.command(epilog=example)(grant)
    app.command(epilog="Example: mutx-infra tailnet revoke alice@example.com acme")(revoke)
    app.command(epilog="Example: mutx-infra tailnet granted")(granted)


def grant(
    login: LoginArgument,
    tenant: TenantArgument,
    period: Annotated[str, typer.Option("--for", metavar="PERIOD", help="From now on: 2h, 90m, 1h30m.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept.")],
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Let an operator enter a tenant's hosts for a while; it ends by itself. Where the profile asks for leave."""
    from mutx_infra.tailnet.leave import parse_period  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    given = _desk(environment).give(login, tenant, parse_period(period), reason, ConsoleReporter(out))
    if out.format is Format.JSON:
        out.data({"login": login, "tenant": tenant, "reason": reason, "devices": _leaves_json(given)})
        return
    out.table(("device", "until"), [(leave.name, _until(leave)) for leave in given])


def revoke(
    login: LoginArgument,
    tenant: TenantArgument,
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Take an operator's leave back at once."""
    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    taken = _desk(environment).take(login, tenant, ConsoleReporter(out))
    if out.format is Format.JSON:
        out.data({"login": login, "tenant": tenant, "devices": taken})


def granted(
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show who has leave now, for whose hosts, and until when."""
    out = c.make_output(as_json=as_json, output=output)
    found = _desk(environment).current()
    if out.format is Format.JSON:
        leaves = [
            {"tenant": each.tenant, "login": each.leave.login, **_leave_json(each.leave)} for each in found
        ]
        out.data({"granted": leaves})
        return
    rows = [(each.tenant, each.leave.login, each.leave.name, _until(each.leave)) for each in found]
    if rows:
        out.table(("tenant", "login", "device", "until"), rows)
    else:
        out.say("nobody has leave")


def _desk(environment: str | None) -> LeaveDesk:
    return bootstrap_tailnet.make_leave_desk(bootstrap.this_process(), c.current_settings(environment))


def _until(leave: Leave) -> str:
    return "for ever" if leave.until is None else leave.until.isoformat()


def _leaves_json(leaves: Sequence[Leave]) -> list[dict[str, object]]:
    return [_leave_json(leave) for leave in leaves]


def _leave_json(leave: Leave) -> dict[str, object]:
    return {
        "device": leave.device,
        "name": leave.name,
        "until": None if leave.until is None else leave.until.isoformat(),
    }
