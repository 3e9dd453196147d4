"""`mutx-infra doctor`: what is here, what is missing, how to get it."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from mutx_infra.cli import context as c
from mutx_infra.cli.output import Format

from mutx_infra import bootstrap
from mutx_infra.errors import MutxInfraError, RefusedError

_PACKAGES = (
    "pulumi",
    "pulumi-aws",
    "pulumi-tailscale",
    "ansible-runner",
    "hvac",
    "boto3",
    "typer",
    "jinja2",
    "pytest-testinfra",
)
_OPTIONAL = {"moto": "pip install 'mutx-infra[sandbox]'", "psycopg": "pip install 'mutx-infra[postgres]'"}


def doctor(
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Check the installation; exits 4 where something needed is missing."""
    out = c.make_output(as_json=as_json, output=output)
    checks = [_python(), *_engine(), *map(_package, _PACKAGES), *_optional(), _environment(environment)]
    if out.format is Format.JSON:
        out.data({"checks": [dict(zip(("name", "state", "detail"), check, strict=True)) for check in checks]})
    else:
        out.table(("check", "state", "detail"), checks)
    if any(state == "missing" for _, state, _ in checks):
        raise RefusedError(
            "something needed is missing", code="doctor-missing", remedy="the table says how to get it"
        )


def _python() -> tuple[str, str, str]:
    return "python", "ok", ".".join(map(str, sys.version_info[:3]))


def _engine() -> list[tuple[str, str, str]]:
    from mutx_infra.adapters.pulumi_engine import find_engine  # noqa: PLC0415

    process = bootstrap.this_process()
    try:
        engine = find_engine(bootstrap.settings_of(process).cache, process.variables.get("PATH", ""))
    except MutxInfraError as exc:
        return [("pulumi engine", "missing", f"{exc.message}: {exc.remedy}")]
    return [("pulumi engine", "ok", f"{engine.version} ({engine.path})")]


def _package(name: str) -> tuple[str, str, str]:
    try:
        return name, "ok", version(name)
    except PackageNotFoundError:
        return name, "missing", f"pip install {name}"


def _optional() -> list[tuple[str, str, str]]:
    return [
        (name, "ok", detail) if state == "ok" else (name, "optional", remedy)
        for name, remedy in _OPTIONAL.items()
        for _, state, detail in [_package(name)]
    ]


def _environment(chosen: str | None) -> tuple[str, str, str]:
    try:
        path = c.current_settings(chosen).require_environment()
        environment = bootstrap.load_environment(path)
    except MutxInfraError as exc:
        return "environment", "not chosen", f"{exc.message}: {exc.remedy}"
    return "environment", "ok", f"{environment.name} ({path})"
