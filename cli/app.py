"""The command line's root: gathers the commands and turns errors into messages and exit statuses."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, NoReturn

import typer
from mutx_infra.cli import account, archive, doctor, history, hosts, platform, spec, tailnet, tenant, vault
from mutx_infra.cli.output import emit, print_error
from typer.exceptions import TyperException

from mutx_infra.errors import INTERRUPTED, MutxInfraError, RefusedError, UsageError

GC_THRESHOLD = 100_000
"""New objects between two collections (Python's default: 700)."""

app = typer.Typer(
    name="mutx-infra",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Isolated networks, hardened hosts and tenant-held keys for AI agents, as code.",
    epilog="Example: mutx-infra sandbox up && mutx-infra tenant create -f tenants/acme.yaml",
)
app.add_typer(tenant.app, name="tenant")
app.add_typer(hosts.app, name="hosts")
app.add_typer(tailnet.app, name="tailnet")
app.add_typer(vault.app, name="vault")
app.add_typer(account.app, name="account")
app.add_typer(platform.app, name="platform")
app.add_typer(history.app, name="history")
app.add_typer(archive.app, name="archive")
app.add_typer(spec.app, name="spec")
app.command("doctor", epilog="Example: mutx-infra doctor")(doctor.doctor)


def add_extension(extension: EntryPoint) -> None:
    """Add the command group of another distribution; one that cannot be loaded says so when it is called."""
    try:
        app.add_typer(extension.load(), name=extension.name)
    except Exception as exc:  # noqa: BLE001 - whatever is wrong with an extension, our own commands still work
        app.command(extension.name, help=f"(cannot be loaded: {exc})")(_refusal(extension, exc))


def _refusal(extension: EntryPoint, cause: Exception) -> Callable[[], None]:
    def refuse() -> None:
        owner = extension.dist.name if extension.dist else extension.module
        raise RefusedError(
            f"the commands `{extension.name}` of {owner} cannot be loaded: {type(cause).__name__}: {cause}",
            code="extension-broken",
            remedy=f"install {owner} anew with all it needs, or remove it",
        ) from cause

    return refuse


for _extension in entry_points(group="mutx_infra.commands"):
    add_extension(_extension)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version_: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Isolated networks, hardened hosts and tenant-held keys for AI agents, as code."""
    if version_:
        emit(f"mutx-infra {version('mutx-infra')}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        emit(context.get_help() + "\n")


def main() -> NoReturn:
    """Run one command and end the process; its exit status is the one of the table in docs/reference/exit-codes.md."""
    # A command lives for seconds. Looking for cycles among the objects of the imported modules took a quarter of them.
    gc.set_threshold(GC_THRESHOLD)
    _leave(run())


def run() -> int:
    """Run the command of `sys.argv`, print what went wrong, and return the exit status."""
    try:
        status = app(standalone_mode=False, prog_name="mutx-infra")
    except MutxInfraError as exc:
        print_error(exc)
        return exc.exit_status
    except TyperException as exc:
        print_error(_usage_error(exc))
        return UsageError.exit_status
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\ninterrupted; what was made is recorded, run the same command again to go on\n")
        return INTERRUPTED
    except Exception as exc:  # noqa: BLE001 - the one place that catches everything (CONVENTIONS 5)
        sys.stderr.write(f"error[defect]: {type(exc).__name__}: {exc}\n")
        sys.stderr.write(
            "  hint: this is a defect in mutx-infra; MUTX_INFRA_TRACE=1 shows the trace for a report\n"
        )
        if os.environ.get("MUTX_INFRA_TRACE"):
            traceback.print_exception(exc)
        return 1
    return status if isinstance(status, int) else 0


def _leave(status: int) -> NoReturn:
    """End the process without taking its modules apart, which would take 0.3 s; everything else is closed by now."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    logging.shutdown()
    os._exit(status)


def _usage_error(exc: TyperException) -> UsageError:
    command = getattr(getattr(exc, "ctx", None), "command_path", "mutx-infra")
    return UsageError(exc.format_message(), code="usage", remedy=f"see `{command} --help`")
