"""Writes a Pulumi project that runs a checkout's program offline: the same Pulumi.yaml, plus this machine's plugins."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mutx_sandbox.daemon import COORDINATION, PROVIDER, TAILNET_PROVIDER, Record, Sandbox
from mutx_sandbox.processes import module_command
from mutx_sandbox.tailnet import NAME as TAILNET_NAME

from mutx_infra.errors import RefusedError
from mutx_infra.naming import TAILNET_PROJECT
from mutx_infra.settings import PROJECT_FILE

_AWS_SERVICES = ("cloudwatch", "ec2", "iam", "kms", "logs", "s3", "ssm", "sts")
_NOT_LINKED = frozenset({"build", "dist"})
_EXECUTABLE = 0o755


@dataclass(frozen=True, slots=True)
class Written:
    """A written project.

    Attributes:
        directory: what `pulumi -C` takes.
        env: a file of exports to be sourced by a shell.
        variables: the same, for programs that start the engine themselves.
    """

    directory: Path
    env: Path
    variables: dict[str, str]


def write_project(repo: Path, out: Path, sandbox: Sandbox, project: str = ".") -> Written:
    """Write a project for a running sandbox.

    Name, runtime, description and config schema are the checkout's, `main` is absolute, and the checkout's other
    directories are linked, so that paths in its config mean the same. Stack files are copied: the engine writes to
    them.

    Args:
        repo: a checkout with a Pulumi.yaml.
        out: the directory to write; made if need be. Several projects may share it.
        sandbox: a sandbox that is up.
        project: where in the checkout the project's file is; it gets the same place below `out`.

    Raises:
        RefusedError: the sandbox is not up, or the checkout has no such project (`project-missing`).
    """
    record = sandbox.require_up()
    source = repo / project
    if not (source / PROJECT_FILE).is_file():
        raise RefusedError(
            f"{source} has no {PROJECT_FILE}", code="project-missing", remedy="run this in a whole checkout"
        )
    out = out.expanduser().resolve()
    directory = _link_directories(repo, out, Path(project))
    settings = yaml.safe_load((source / PROJECT_FILE).read_text(encoding="utf-8"))
    settings = project_settings(settings, source, out, record, sandbox.backend)
    if settings["name"] == TAILNET_PROJECT:
        settings["config"] |= _tailnet_config(record, sandbox)
    _write(directory / PROJECT_FILE, yaml.safe_dump(settings, sort_keys=False))
    for stack in sorted(source.glob("Pulumi.*.yaml")):
        shutil.copyfile(stack, directory / stack.name)
    _write_launchers(out, record, sandbox)
    variables = _variables(out, record, sandbox)
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    _write(out / "env", exports)
    return Written(directory, out / "env", variables)


def project_settings(
    settings: dict[str, Any], source: Path, out: Path, record: Record, backend: Path
) -> dict[str, Any]:
    """Return a project's settings with this machine's program path, plugins, backend and endpoints."""
    plugins = out / ".plugins"
    endpoint = record.endpoints["aws"]
    return {
        **settings,
        "runtime": _runtime(settings["runtime"]),
        "main": str((source / settings.get("main", ".")).resolve()),
        "backend": {"url": backend.as_uri()},
        "plugins": {
            "providers": [{"name": name, "path": str(plugins / name)} for name in _providers(record)],
            "languages": [{"name": "python", "path": str(plugins / "python")}],
        },
        "config": {
            **(settings.get("config") or {}),
            "aws:endpoints": {"value": [dict.fromkeys(_AWS_SERVICES, endpoint)]},
            "aws:skipCredentialsValidation": {"value": True},
            "aws:skipMetadataApiCheck": {"value": True},
            "aws:skipRegionValidation": {"value": True},
            "aws:s3UsePathStyle": {"value": True},
        },
    }


def _providers(record: Record) -> dict[str, int]:
    """Return the ports of the providers that run, by package."""
    found = {"aws": record.port_of(PROVIDER)}
    return {**found, "tailscale": record.port_of(TAILNET_PROVIDER)} if record.has_tailnet else found


def _tailnet_config(record: Record, sandbox: Sandbox) -> dict[str, dict[str, str]]:
    """Return the config of the tailnet's project.

    Raises:
        RefusedError: the sandbox has none (code `tailnet-not-named`).
    """
    if not record.has_tailnet:
        raise RefusedError(
            "this sandbox has no tailnet",
            code="tailnet-not-named",
            remedy="start it: `mutx-infra sandbox up --tailnet`",
        )
    return {
        f"{TAILNET_PROJECT}:environment": {"value": str(sandbox.environment_file)},
        "tailscale:tailnet": {"value": TAILNET_NAME},
        "tailscale:baseUrl": {"value": record.endpoints["tailscale_api"]},
    }


def _runtime(runtime: Any) -> dict[str, Any]:  # noqa: ANN401 - text or mapping, as Pulumi allows
    """Point the runtime at the virtual environment of the running interpreter."""
    found: dict[str, Any] = dict(runtime) if isinstance(runtime, dict) else {"name": runtime}
    options = {key: value for key, value in (found.get("options") or {}).items() if key != "virtualenv"}
    if sys.prefix != sys.base_prefix:
        options["virtualenv"] = sys.prefix
    return {**found, "options": options}


def _link_directories(repo: Path, out: Path, project: Path) -> Path:
    """Link what lies beside the way to the project, and make that way; return its end."""
    source, made = repo, out
    for step in (*project.parts, None):
        if made.is_symlink():
            made.unlink()  # of a project that was written before, whose way was another
        made.mkdir(parents=True, exist_ok=True)
        for entry in sorted(source.iterdir()):
            if entry.is_dir() and entry.name != step and not _is_left_out(entry, out):
                _link(made / entry.name, entry)
        if step is not None:
            source, made = source / step, made / step
    return made


def _is_left_out(entry: Path, out: Path) -> bool:
    hidden = entry.name.startswith(".") or entry.name in _NOT_LINKED or entry.name.endswith(".egg-info")
    return hidden or entry.resolve() == out


def _link(link: Path, target: Path) -> None:
    if not link.exists():
        link.symlink_to(target)


def _write_launchers(out: Path, record: Record, sandbox: Sandbox) -> None:
    provider = module_command(
        "mutx_sandbox.aws",
        "--plugin",
        "--endpoint",
        record.endpoints["aws"],
        "--credentials-file",
        str(sandbox.credentials_file),
    )
    _write_launcher(out / ".plugins" / "aws" / "pulumi-resource-aws", provider)
    if record.has_tailnet:
        tailnet = sandbox.tailnet.provider(record.port_of(COORDINATION), None)
        _write_launcher(out / ".plugins" / "tailscale" / "pulumi-resource-tailscale", tailnet)
    host = module_command("mutx_sandbox.language_host")
    _write_launcher(out / ".plugins" / "python" / "pulumi-language-python", host)


def _write_launcher(path: Path, command: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(_EXECUTABLE)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _variables(out: Path, record: Record, sandbox: Sandbox) -> dict[str, str]:
    return {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(sandbox.credentials_file),
        "PULUMI_BACKEND_URL": sandbox.backend.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(sandbox.passphrase_file),
        "PULUMI_DEBUG_PROVIDERS": ",".join(f"{name}:{port}" for name, port in _providers(record).items()),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_HOME": str(out / ".pulumi"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
