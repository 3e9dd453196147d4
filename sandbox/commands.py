"""`mutx-infra sandbox …`: a cloud of real parts on this machine, no account needed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.output import Format, Output, emit
from mutx_sandbox.machines.commands import app as hosts_app

from mutx_infra.errors import RefusedError, SettingsError, UsageError
from mutx_infra.naming import PLATFORM_PROJECT, PROJECT, TAILNET_PROJECT
from mutx_infra.settings import PROJECT_DIRECTORIES, find_project, state_directory

if TYPE_CHECKING:
    from mutx_sandbox.daemon import Record, Sandbox

FaultOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="KIND[:NAME=VALUE,...]",
        help="Make calls to AWS fail: 500, throttle, latency, drop or drop-response; by operation, every, probability, "
        "times, seconds, seed.",
    ),
]

app = typer.Typer(no_args_is_help=True, help="A local cloud of real parts, no account needed.")
app.add_typer(hosts_app, name="hosts")


@app.command(epilog="Example: mutx-infra sandbox up")
def up(
    fault: FaultOption = None,
    hosts: Annotated[
        bool,
        typer.Option(
            "--hosts",
            help="Start a real machine for each tenant's host; it joins the tailnet, and `tenant create` hardens it "
            "(as root).",
        ),
    ] = False,
    tailnet: Annotated[
        bool | None,
        typer.Option(
            "--tailnet/--no-tailnet",
            help="Start a tailnet too; `tenant create` and `tailnet apply` write its policy (needs Go). "
            "Default: with --hosts. Without it tailnet addresses are fixed, and all may reach all.",
        ),
    ] = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Start the sandbox and make it the current environment."""
    missing = [name for name in ("moto", "flask", "grpc", "jmespath") if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"the sandbox needs packages that are not installed: {', '.join(missing)}",
            code="sandbox-extra-missing",
            remedy="pip install 'mutx-infra[sandbox]'",
        )
    faults = fault or []
    _check_faults(faults)
    sandbox = _sandbox()
    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    has_tailnet = hosts if tailnet is None else tailnet
    if has_tailnet:
        _refuse_fixed_addresses(sandbox)
    record, remark = sandbox.up(faults, _coordination() if has_tailnet else None)
    out.say(remark)
    if hosts:
        record = _let_machines_follow(sandbox, out)
    _show(sandbox, record, as_json=out.format is Format.JSON)


def _refuse_fixed_addresses(sandbox: Sandbox) -> None:
    """Machines that have come up with fixed addresses are not reached over a tailnet that is added later."""
    from mutx_sandbox.machines.life import Machines  # noqa: PLC0415
    from mutx_sandbox.machines.places import machines_folder  # noqa: PLC0415

    record = sandbox.record()
    if record is None or not record.is_up or record.has_tailnet:
        return
    if names := [
        state.machine.name
        for state in Machines(machines_folder(sandbox.folder)).states()
        if state.machine.tailnet
    ]:
        raise RefusedError(
            f"{', '.join(names)} came up with fixed tailnet addresses, and would not be reached any more",
            code="sandbox-hosts-fixed",
            remedy="run `mutx-infra sandbox hosts down` first, or give `--no-tailnet`",
        )


def _coordination() -> Path:
    from mutx_sandbox.tailnet import coordination_program  # noqa: PLC0415

    return coordination_program(c.current_settings().project)


def _let_machines_follow(sandbox: Sandbox, out: Output) -> Record:
    from mutx_sandbox.machines.hosts import SandboxHosts  # noqa: PLC0415
    from mutx_sandbox.machines.machine import BackendName  # noqa: PLC0415

    yard = SandboxHosts(sandbox, c.current_settings().cache, out.say)
    yard.start(yard.prepare(BackendName.NSPAWN).layers)
    yard.machines.follow()
    return sandbox.follow()


@app.command(epilog="Example: mutx-infra sandbox down")
def down(
    output: c.OutputOption = Format.TABLE, as_json: c.JsonOption = False, quiet: c.QuietOption = False
) -> None:
    """End the sandbox, its cloud and all that describes it."""
    ended = _sandbox().down()
    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    out.say("the sandbox is down" if ended else "there was no sandbox")
    if out.format is Format.JSON:
        out.data({"state": "down", "was_up": ended})


@app.command(epilog="Example: mutx-infra sandbox reset")
def reset(
    output: c.OutputOption = Format.TABLE, as_json: c.JsonOption = False, quiet: c.QuietOption = False
) -> None:
    """Empty the cloud, the stack state and the registry."""
    _sandbox().reset()
    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    out.say("the sandbox is empty")
    if out.format is Format.JSON:
        out.data({"state": "up", "tenants": []})


@app.command(epilog="Example: mutx-infra sandbox status --json")
def status(output: c.OutputOption = Format.TABLE, as_json: c.JsonOption = False) -> None:
    """Name every endpoint; exits 4 where the sandbox is not up."""
    sandbox = _sandbox()
    record = sandbox.record()
    out = c.make_output(as_json=as_json, output=output)
    if record is None or not record.is_up:
        if out.format is Format.JSON:
            out.data({"state": "down", "endpoints": {}, "processes": []})
        raise RefusedError("the sandbox is not up", code="sandbox-down", remedy="run `mutx-infra sandbox up`")
    _show(sandbox, record, as_json=out.format is Format.JSON)


@app.command(epilog="Example: mutx-infra sandbox project build/offline")
def project(
    directory: Annotated[Path, typer.Argument(help="Where it is written.")],
    platform: Annotated[
        bool, typer.Option("--platform", help="The platform's project instead of the tenants'.")
    ] = False,
    tailnet: Annotated[bool, typer.Option("--tailnet", help="The tailnet's project.")] = False,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Write a Pulumi project that runs this checkout's program on the sandbox; prints its file of exports."""
    from mutx_sandbox.project import write_project  # noqa: PLC0415

    checkout = find_project(Path.cwd())
    if checkout is None:
        raise SettingsError(
            "there is no Pulumi.yaml here", code="project-missing", remedy="run this in a checkout"
        )
    name = TAILNET_PROJECT if tailnet else PLATFORM_PROJECT if platform else PROJECT
    place = PROJECT_DIRECTORIES[name]
    written = write_project(checkout, directory, _sandbox(), place)
    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    if out.format is Format.JSON:
        out.data(
            {"directory": str(written.directory), "env": str(written.env), "variables": written.variables}
        )
        return
    emit(f"{written.env}\n")
    out.say(f"source that file, then: pulumi -C {written.directory} preview --stack NAME")


@app.command(epilog="Example: mutx-infra sandbox faults --fault drop-response:operation=Create*,every=3")
def faults(
    fault: FaultOption = None,
    clear: Annotated[bool, typer.Option("--clear", help="End all faults.")] = False,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Show the faults that calls to AWS meet, or put others in force."""
    from mutx_sandbox.aws.control import open_control  # noqa: PLC0415

    wanted = fault or []
    _check_faults(wanted)
    with open_control(_sandbox().require_up().endpoints["aws_provider"]) as control:
        active = control.set_faults(*wanted) if wanted or clear else control.faults()
    out = c.make_output(as_json=as_json, output=output)
    if out.format is Format.JSON:
        out.data({"faults": active})
        return
    out.table(("fault", "hits"), [(str(entry["fault"]), str(entry["hits"])) for entry in active])


def _check_faults(faults: list[str]) -> None:
    if not faults:
        return
    from mutx_sandbox.aws.faults import Fault  # noqa: PLC0415

    for text in faults:
        try:
            Fault.parse(text)
        except ValueError as exc:
            raise UsageError(
                str(exc), code="fault-invalid", remedy="see `mutx-infra sandbox up --help`"
            ) from exc


def _sandbox() -> Sandbox:
    from mutx_sandbox.daemon import Sandbox  # noqa: PLC0415 - keeps `--help` quick

    return Sandbox(state_directory(os.environ, Path.cwd()))


def _show(sandbox: Sandbox, record: Record, *, as_json: bool) -> None:
    endpoints = record.endpoints
    out = c.make_output(as_json=as_json)
    if as_json:
        out.data(
            {
                "state": "up",
                "endpoints": endpoints,
                "environment": str(sandbox.environment_file),
                "started_at": record.started_at.isoformat(),
                "processes": [{"name": p.name, "pid": p.pid, "port": p.port} for p in record.processes],
            }
        )
        return
    out.table(("endpoint", "address"), [*endpoints.items(), ("environment", str(sandbox.environment_file))])
