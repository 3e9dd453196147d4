"""Options that every command has, and the use cases wired to them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli.output import Format, Output

from mutx_infra import bootstrap
from mutx_infra.bootstrap_tailnet import LateKeeper
from mutx_infra.errors import RefusedError
from mutx_infra.hardening import HostCare
from mutx_infra.onboarding import Onboarding
from mutx_infra.ports import Reporter
from mutx_infra.settings import Settings

if TYPE_CHECKING:
    from mutx_infra.vault.custody import Custody

JsonOption = Annotated[bool, typer.Option("--json", help="Short for `--output json`.")]
OutputOption = Annotated[Format, typer.Option("--output", help="How data is printed.", case_sensitive=False)]
EnvironmentOption = Annotated[
    str | None,
    typer.Option(
        "--environment", "-e", metavar="NAME|FILE", envvar="MUTX_INFRA_ENVIRONMENT",
        help="Environment profile. Default: the one `sandbox up` made current.",
    ),
]  # fmt: skip
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print data and errors only.")]
ProgressOption = Annotated[
    bool, typer.Option("--progress/--no-progress", help="Redraw a progress line on a terminal.")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="One line for each resource.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
RefreshOption = Annotated[
    bool,
    typer.Option(
        "--refresh/--no-refresh", help="Compare the state with the cloud first, so that drift is seen."
    ),
]


def tenant_names(incomplete: str) -> list[str]:
    """Complete tenant names from the registry; silent where there is none."""
    try:
        return [r.spec.id for r in onboarding_for(None).tenants() if r.spec.id.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - completion must never print a trace into the operator's command line
        return []


TenantArgument = Annotated[
    str, typer.Argument(metavar="TENANT", help="The tenant's id.", autocompletion=tenant_names)
]


def make_output(
    *,
    as_json: bool = False,
    output: Format = Format.TABLE,
    quiet: bool = False,
    progress: bool = True,
    verbose: bool = False,
) -> Output:
    """Fold the output options into one value."""
    return Output(Format.JSON if as_json else output, quiet=quiet, progress=progress, verbose=verbose)


def onboarding_for(environment: str | None) -> Onboarding:
    """Return the use cases of the chosen environment."""
    process = bootstrap.this_process()
    settings = bootstrap.settings_of(process, environment)
    return bootstrap.make_onboarding(process, settings, LateKeeper(process, settings))


def care_on_create(environment: str | None, report: Reporter) -> Callable[[], HostCare] | None:
    """Return what hardens hosts once their stack stands; None where the profile leaves them alone."""
    process = bootstrap.this_process()
    settings = bootstrap.settings_of(process, environment)
    profile = bootstrap.load_environment(settings.require_environment())
    if profile.hosts is None:
        report.note(
            f"the hosts are not hardened: the profile {profile.name} does not say how to reach them (`hosts`)"
        )
        return None
    return partial(bootstrap.make_host_care, process, settings) if profile.hosts.on_create else None


def custody_on_create(environment: str | None) -> Callable[[], Custody] | None:
    """Return what hands over Vaults; None where the profile does not say by what they know the platform."""
    from mutx_infra.bootstrap_custody import make_custody  # noqa: PLC0415 - keeps the other commands quick

    process = bootstrap.this_process()
    settings = bootstrap.settings_of(process, environment)
    if bootstrap.load_environment(settings.require_environment()).vault is None:
        return None
    return partial(make_custody, process, settings)


def forget_vault(environment: str | None, tenant: str, receipt: str) -> None:
    """Remove what was kept of the Vault of a tenant that is gone, but for what the tenant signed."""
    settings = current_settings(environment)
    files = bootstrap.vault_files(settings, bootstrap.load_environment(settings.require_environment()))
    if receipt:
        files.keep_receipt(tenant, "shred", receipt)
    files.forget(tenant)


def current_settings(environment: str | None = None) -> Settings:
    """Return the settings of this invocation."""
    return bootstrap.settings_of(bootstrap.this_process(), environment)


def spec_path(tenant: str | None, file: Path | None) -> Path:
    """Return the spec's path: the one given, else `tenants/<tenant>.yaml` in the project."""
    if file is not None:
        return file
    if tenant is None:
        raise typer.BadParameter("name a tenant, or its spec with `-f FILE`", param_hint="TENANT")
    project = current_settings().project or Path()
    return project / "tenants" / f"{tenant}.yaml"


def require_typed(name: str, why: str, refused: RefusedError) -> None:
    """Have the operator type a name; a terminal is asked, and nothing else.

    Args:
        name: what is typed.
        why: ends the question, e.g. `to go on`.
        refused: what is raised where it was not typed, or nobody can.
    """
    if not sys.stdin.isatty():
        raise refused
    sys.stderr.write(f"Type {name} {why}: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != name:
        raise refused


def not_confirmed(command: str) -> RefusedError:
    """Return what is said where a tenant's name was not typed; the command does without."""
    return RefusedError(
        "not confirmed; nothing was done",
        code="not-confirmed",
        remedy=f"type the tenant's name, or run `{command}`",
    )
