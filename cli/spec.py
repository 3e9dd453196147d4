"""`mutx-infra spec …`: write, check and describe tenant specs; touches no cloud."""

from __future__ import annotations

import json
import os.path
import sys
from pathlib import Path
from typing import Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.output import Format, emit

from mutx_infra import bootstrap
from mutx_infra.errors import RefusedError, SettingsError, UsageError
from mutx_infra.naming import project_of
from mutx_infra.settings import PROJECT_DIRECTORIES, PROJECT_FILE
from mutx_infra.tenant import Tier

app = typer.Typer(no_args_is_help=True, help="Write, check and describe tenant specs.")

_STACK_CONFIG = """config:
{account}  aws:region: {region}
  {project}:spec: {spec}
"""
_ACCOUNT_PIN = '  aws:allowedAccountIds: ["{account}"]\n'


@app.command(epilog="Example: mutx-infra spec init acme --region eu-west-1")
def init(
    tenant: Annotated[
        str | None, typer.Argument(metavar="TENANT", envvar="MUTX_INFRA_TENANT", help="The tenant's id.")
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", envvar="MUTX_INFRA_REGION", help="AWS region.")
    ] = None,
    tier: Annotated[
        Tier, typer.Option("--tier", envvar="MUTX_INFRA_TIER", help="How much the tenant gets.")
    ] = Tier.STARTER,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Where to write. Default: tenants/TENANT.yaml.")
    ] = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Write a commented spec, and the stack's config for `pulumi up`; asks on a terminal for what is left out."""
    tenant = tenant or _ask("Tenant id", "TENANT")
    region = region or _ask("AWS region", "--region")
    written = [str(path) for path in write_spec(c.spec_path(tenant, file), tenant, region, tier)]
    out = c.make_output(as_json=as_json, output=output)
    if out.format is Format.JSON:
        out.data({"written": written})
        return
    emit("".join(f"{path}\n" for path in written))


def write_spec(path: Path, tenant: str, region: str, tier: Tier) -> list[Path]:
    """Write a commented spec and, inside a project, the stack's config beside Pulumi.yaml; return what was written.

    Raises:
        RefusedError: the spec exists (`spec-exists`).
        SpecError: the values make no valid spec; nothing is left of it.
    """
    from mutx_infra.adapters.spec_file import load_spec, spec_skeleton  # noqa: PLC0415

    if path.exists():
        raise RefusedError(
            f"{path} exists", code="spec-exists", remedy="edit it, or name another file with `-f`"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(spec_skeleton(tenant, region, tier), encoding="utf-8")
    try:
        load_spec(path)
    except Exception:
        path.unlink()
        raise
    project = c.current_settings().project
    if project is None or not path.resolve().is_relative_to(project):
        return [path]
    directory = project / PROJECT_DIRECTORIES[project_of(tenant)]
    stack = directory / f"Pulumi.{tenant}.yaml"
    if stack.exists() or not (directory / PROJECT_FILE).exists():
        return [path]
    text = _STACK_CONFIG.format(
        account=_account_pin(),
        region=region,
        project=project_of(tenant),
        spec=os.path.relpath(path.resolve(), directory),
    )
    stack.write_text(text, encoding="utf-8")
    return [path, stack]


def _account_pin() -> str:
    """Return the line that makes a pipeline's provider refuse another account; empty where no environment is chosen."""
    try:
        environment = bootstrap.load_environment(c.current_settings().require_environment())
    except SettingsError:
        return ""
    return _ACCOUNT_PIN.format(account=environment.aws.account_id)


@app.command(epilog="Example: mutx-infra spec validate tenants/acme.yaml")
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="SPEC...", help="Specs to check.")],
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Check specs without touching anything; a lock file among them is checked against the spec beside it."""
    from mutx_infra.adapters.spec_file import LOCK_SUFFIX, load_plan, load_spec  # noqa: PLC0415

    locks = [file for file in files if file.name.endswith(LOCK_SUFFIX)]
    for lock in locks:
        load_plan(lock.with_name(f"{lock.name.removesuffix(LOCK_SUFFIX)}.yaml"))
    files = [file for file in files if file not in locks]
    specs = [load_spec(file).spec for file in files]
    out = c.make_output(as_json=as_json, output=output)
    if out.format is Format.JSON:
        out.data({"specs": [spec.model_dump(mode="json", exclude_none=True) for spec in specs]})
        return
    out.table(
        ("spec", "tenant", "tier", "region"),
        [(str(file), spec.id, spec.tier, spec.region) for file, spec in zip(files, specs, strict=True)],
    )


@app.command(epilog="Example: mutx-infra spec schema > tenants/tenant.schema.json")
def schema() -> None:
    """Print the spec's JSON Schema, for editors."""
    from mutx_infra.adapters.spec_file import tenant_schema  # noqa: PLC0415

    emit(json.dumps(tenant_schema(), indent=2, sort_keys=True) + "\n")


def _ask(question: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            f"{option} is missing",
            code="option-missing",
            remedy=f"pass {option}; without a terminal nobody is asked",
        )
    sys.stderr.write(f"{question}: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()
