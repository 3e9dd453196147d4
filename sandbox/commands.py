"""`mutx-infra sandbox …`: a cloud of real parts on this machine, no account needed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mutx_infra.cli import context as c
from mutx_infra.cli.output import Format
from mutx_infra.errors import RefusedError, SettingsError
from mutx_infra.settings import state_directory

if TYPE_CHECKING:
    from mutx_sandbox.daemon import Record, Sandbox

app = typer.Typer(no_args_is_help=True, help="A local cloud of real parts, no account needed.")


@app.command(epilog="Example: mutx-infra sandbox up")
def up(output: c.OutputOption = Format.TABLE, as_json: c.JsonOption = False, quiet: c.QuietOption = False) -> None:
    """Start the sandbox and make it the current environment."""
    if find_spec("moto") is None or find_spec("flask") is None:
        raise SettingsError("moto is not installed", code="sandbox-extra-missing", remedy="pip install 'mutx-infra[sandbox]'")
    sandbox = _sandbox()
    record, remark = sandbox.up()
    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    out.say(remark)
    _show(sandbox, record, as_json=out.format is Format.JSON)


@app.command(epilog="Example: mutx-infra sandbox down")
def down(quiet: c.QuietOption = False) -> None:
    """End the sandbox, its cloud and all that describes it."""
    ended = _sandbox().down()
    c.make_output(quiet=quiet).say("the sandbox is down" if ended else "there was no sandbox")


@app.command(epilog="Example: mutx-infra sandbox reset")
def reset(quiet: c.QuietOption = False) -> None:
    """Empty the cloud, the stack state and the registry."""
    _sandbox().reset()
    c.make_output(quiet=quiet).say("the sandbox is empty")


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


def _sandbox() -> Sandbox:
    from mutx_sandbox.daemon import Sandbox  # noqa: PLC0415 - keeps `--help` quick

    return Sandbox(state_directory(os.environ, Path.cwd()))


def _show(sandbox: Sandbox, record: Record, *, as_json: bool) -> None:
    endpoints = {
        "aws": f"http://127.0.0.1:{record.port_of('aws')}",
        "aws_provider": f"127.0.0.1:{record.port_of('aws_provider')}",
    }
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
