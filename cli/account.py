"""`mutx-infra account …`: what IAM must grant and deny in an account, as documents to apply there."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.output import emit
from pydantic import TypeAdapter, ValidationError

from mutx_infra import bootstrap
from mutx_infra.deploy_policy import after_hand_over, deploy_documents
from mutx_infra.tenant import AccountId, Region, TenantId

app = typer.Typer(no_args_is_help=True, help="IAM documents for the accounts of platform and tenants.")


@app.command(epilog="Example: mutx-infra account policy --region eu-west-1")
def policy(
    region: Annotated[str, typer.Option("--region", metavar="REGION", help="Where the tenants are.")],
    account: Annotated[
        str | None, typer.Option("--account", metavar="ID", help="Default: the environment's own.")
    ] = None,
    environment: c.EnvironmentOption = None,
) -> None:
    """Print the policies of the role that deploys: what the toolkit calls, and nothing else, as JSON by name."""
    _require(Region, region, "--region")
    if account is not None:
        _require(AccountId, account, "--account")
    profile = bootstrap.load_environment(c.current_settings(environment).require_environment())
    bucket = urlsplit(profile.history.url).netloc if profile.history else ""
    documents = deploy_documents(account or profile.aws.account_id, region, bucket or "NO-HISTORY-BUCKET")
    emit(json.dumps({name: json.loads(text) for name, text in documents.items()}, indent=2) + "\n")


@app.command(epilog="Example: mutx-infra account boundary acme")
def boundary(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")],
) -> None:
    """Print the boundary that a tenant puts on the platform's roles at hand-over, as JSON."""
    _require(TenantId, tenant, "TENANT")
    emit(json.dumps(json.loads(after_hand_over(tenant)), indent=2) + "\n")


def _require(kind: Any, value: str, name: str) -> None:  # noqa: ANN401 - an annotated type
    """Refuse what is no region, account or tenant before it gets into a document that somebody applies."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as exc:
        raise typer.BadParameter(f"{value!r}: {exc.errors()[0]['msg']}", param_hint=name) from exc
