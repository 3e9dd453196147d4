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
    "pulumi-policy",
    "pulumi-tailscale",
    "ansible-runner",
    "hvac",
    "boto3",
    "typer",
    "jinja2",
    "pytest-testinfra",
)
_OPTIONAL = {"moto": "pip install 'mutx-infra[sandbox]'", "psycopg": "pip install 'mutx-infra[postgres]'"}

_NOT_WORKING = frozenset({"missing", "invalid"})


def doctor(
    environment: c.EnvironmentOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """Check the installation; exits 4 where something needed is missing or the environment profile is not valid."""
    out = c.make_output(as_json=as_json, output=output)
    checks = [_python(), *_engine(), *map(_package, _PACKAGES), *_optional(), _environment(environment)]
    if out.format is Format.JSON:
        out.data({"checks": [dict(zip(("name", "state", "detail"), check, strict=True)) for check in checks]})
    else:
        out.table(("check", "state", "detail"), checks)
    if any(state in _NOT_WORKING for _, state, _ in checks):
        raise RefusedError(
            "something needed is missing or not valid",
            code="doctor-missing",
            remedy="the table says how to get it",
        )


def _python() -> tuple[str, str, str]:
    return "python", "ok", ".".join(map(str, sys.version_info[:3]))


def _engine() -> list[tuple[str, str, str]]:
    from mutx_infra.adapters.pulumi_engine import LANGUAGE_HOST, find_engine, has_language_host, search_engine  # noqa: PLC0415

    process = bootstrap.this_process()
    cache, path = bootstrap.settings_of(process).cache, process.variables.get("PATH", "")
    search = search_engine(cache, path)
    rows = [("pulumi engine", "passed over", f"{s.path}: {s.reason}") for s in search.skipped]
    if search.engine is None:
        try:
            find_engine(cache, path)
        except MutxInfraError as exc:
            rows.append(("pulumi engine", "missing", f"{exc.message}: {exc.remedy}"))
        return rows
    rows.append(("pulumi engine", "ok", f"{search.engine.version} ({search.engine.path})"))
    if has_language_host(search.engine, path):
        rows.append((LANGUAGE_HOST, "ok", "plain `pulumi up` can run the stacks"))
    else:
        rows.append(
            (LANGUAGE_HOST, "optional", "needed by plain `pulumi up` only; install Pulumi with its hosts")
        )
    return rows


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
    except MutxInfraError as exc:
        state = "not chosen" if exc.code == "environment-missing" else "invalid"
        return "environment", state, f"{exc.message}: {exc.remedy}"
    try:
        environment = bootstrap.load_environment(path)
    except MutxInfraError as exc:
        return "environment", "invalid", f"{exc.message}: {exc.remedy}"
    return "environment", "ok", f"{environment.name} ({path})"
