"""Policies and configurations of a tenant's Vault, rendered from `templates/vault/`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from mutx_infra.vault.agent import AgentPlan
from mutx_infra.vault.layout import (
    AGENTS,
    HOSTS,
    KV_MOUNT,
    MACHINE_PKI,
    POLICIES,
    SERVICE_PKI,
    SHARED,
    first_requests,
)
from mutx_infra.vault.server import ServerPlan

_NAMES = {
    "kv": KV_MOUNT,
    "agents": AGENTS,
    "shared": SHARED,
    "hosts": HOSTS,
    "service_pki": SERVICE_PKI,
    "machine_pki": MACHINE_PKI,
}


def policy_texts() -> dict[str, str]:
    """Return every policy's text by its name: the same for all tenants."""
    return {name: _template(f"policies/{name}.hcl.j2").render(_NAMES) for name in POLICIES}


def render_server(plan: ServerPlan) -> str:
    """Return the configuration of one node's server, in HCL; it holds no secret."""
    requests = first_requests(plan.layout) if plan.layout is not None and plan.makes_itself else ()
    return _template("server.hcl.j2").render(plan=plan, requests=requests)


def render_agent(plan: AgentPlan) -> str:
    """Return the configuration of a host's Vault Agent, in HCL; it holds no secret."""
    issue = f'pkiCert "{plan.issue_path}" "common_name={plan.host}" "ttl={plan.issue_ttl}"'
    authority = f'.CA | writeToFile "{plan.paths.service_authority}" "" "" "0400"'
    service = (
        f"{{{{ with {issue} }}}}{{{{ .Key }}}}{{{{ .Cert }}}}{{{{ .CA }}}}{{{{ {authority} }}}}{{{{ end }}}}"
    )
    return _template("agent.hcl.j2").render(plan=plan, service_certificate=service)


def hcl(value: object) -> str:
    """Write a value in HCL's native syntax: strings as JSON has them, maps with `=`."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {hcl(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(hcl, value))}]"
    return json.dumps(value, ensure_ascii=False)


@cache
def _environment() -> Environment:
    # Not HTML: what is rendered are configurations, whose values go through the filter `hcl`.
    made = Environment(
        loader=FunctionLoader(_source),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    made.filters["hcl"] = hcl
    return made


def _template(name: str) -> Template:
    return _environment().get_template(name)


def _source(name: str) -> str:
    return files("mutx_infra.templates").joinpath("vault", name).read_text(encoding="utf-8")
