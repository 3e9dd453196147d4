"""`mutx-infra account …`: what IAM must grant and deny in an account, as documents to apply there."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.output import emit
from pydantic import TypeAdapter, ValidationError

from mutx_infra import bootstrap
from mutx_infra.deploy_policy import (
    after_hand_over,
    archive_grants,
    deploy_documents,
    platform_archive_grants,
    platform_grants,
)
from mutx_infra.environment import Environment
from mutx_infra.grants import document
from mutx_infra.naming import role_arn
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
    """Print the policies of the role that deploys: what the toolkit calls, and nothing else, as JSON by name.

    `mutx-platform` is for the role that builds the platform alone. For the account of the archive (`archive.account`,
    where it is one of its own): what the role there needs to keep logs, and to build the archive.
    """
    _require(Region, region, "--region")
    if account is not None:
        _require(AccountId, account, "--account")
    profile = bootstrap.load_environment(c.current_settings(environment).require_environment())
    documents = _documents(profile, account or profile.aws.account_id, region)
    emit(json.dumps({name: json.loads(text) for name, text in documents.items()}, indent=2) + "\n")


@app.command(epilog="Example: mutx-infra account boundary acme")
def boundary(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")],
) -> None:
    """Print the boundary that a tenant puts on the platform's roles at hand-over, as JSON."""
    _require(TenantId, tenant, "TENANT")
    emit(json.dumps(json.loads(after_hand_over(tenant)), indent=2) + "\n")


def _documents(profile: Environment, account: str, region: str) -> dict[str, str]:
    home, archive, role = profile.aws.account_id, profile.archive, profile.aws.tenant_role
    if archive is not None and account == archive.account != home:
        key_region = parse_qs(urlsplit(archive.url).query).get("region", [region])[0]
        grants = archive_grants(account, _bucket(archive.url) or "NO-ARCHIVE-BUCKET", key_region)
        return {
            "mutx-deploy-archive": document(grants),
            "mutx-platform-archive": document(platform_archive_grants(account, region)),
        }
    urls = [profile.history.url] if profile.history else []
    if archive is not None and archive.account in {None, home}:
        urls.append(archive.url)
    buckets = [bucket for url in urls if (bucket := _bucket(url))]
    others = {*profile.aws.tenant_accounts, *([archive.account] if archive and archive.account else [])} - {
        home
    }
    roles = [role_arn(other, role.name, region) for other in sorted(others)] if role else []
    if account != home:
        return deploy_documents(account, region, buckets or ["NO-HISTORY-BUCKET"])
    return {
        **deploy_documents(account, region, buckets or ["NO-HISTORY-BUCKET"], roles),
        "mutx-platform": document(platform_grants(account, region)),
    }


def _bucket(url: str) -> str | None:
    """Return an `s3://` URL's bucket, and None for a directory."""
    return urlsplit(url).netloc or None


def _require(kind: Any, value: str, name: str) -> None:  # noqa: ANN401 - an annotated type
    """Refuse what is no region, account or tenant before it gets into a document that somebody applies."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as exc:
        raise typer.BadParameter(f"{value!r}: {exc.errors()[0]['msg']}", param_hint=name) from exc
