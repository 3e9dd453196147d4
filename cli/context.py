"""Options that every command has, and the use cases wired to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from mutx_infra.cli.output import Format, Output

from mutx_infra import bootstrap
from mutx_infra.hardening import HostCare
from mutx_infra.onboarding import Onboarding
from mutx_infra.ports import Reporter
from mutx_infra.settings import Settings

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
        process = bootstrap.this_process()
        onboarding = bootstrap.make_onboarding(process, bootstrap.settings_of(process))
        return [r.spec.id for r in onboarding.tenants() if r.spec.id.startswith(incomplete)]
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
    return bootstrap.make_onboarding(process, bootstrap.settings_of(process, environment))


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
