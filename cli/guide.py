"""The questions that lead an operator at a terminal from nothing to a tenant; a pipe is never asked."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli.output import print_error
from mutx_infra.cli.spec import write_spec
from mutx_infra.cli.tenant_views import plan_rows

from mutx_infra.errors import RefusedError, SpecError
from mutx_infra.onboarding import Preview
from mutx_infra.tenant import TENANT_TIERS, Tier


def is_possible() -> bool:
    """Say whether somebody sits there who can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask_for_spec(tenant: str | None) -> Path:
    """Ask until there is a valid spec, write it to tenants/TENANT.yaml and return its path; an existing one is kept.

    Raises:
        typer.Abort: the operator ended the input.
    """
    while True:
        name = tenant or _ask("Tenant id (lower case, digits, hyphens)")
        path = c.spec_path(name, None)
        if path.exists():
            return path
        region = _ask("AWS region, e.g. eu-west-1")
        tier = _ask_tier()
        try:
            for written in write_spec(path, name, region, tier):
                _tell(f"wrote {written}")
        except SpecError as exc:
            print_error(exc)
            tenant = None
        else:
            return path


def confirm(seen: Preview) -> None:
    """Show what would be made and have it confirmed.

    Raises:
        RefusedError: the answer was not yes.
    """
    for key, value in plan_rows(seen.plan):
        _tell(f"  {key}: {value}")
    _tell(seen.changes.summary())
    if seen.access is not None:
        _tell(f"over the tailnet: {seen.access.summary()}")
    if _ask("Go on? [y/N]", default="n").lower() not in {"y", "yes"}:
        raise RefusedError(
            "not confirmed; nothing was made",
            code="not-confirmed",
            remedy=f"edit the spec, then run `mutx-infra tenant create {seen.plan.tenant}`",
        )


def _ask_tier() -> Tier:
    while True:
        answer = _ask(f"Tier: {', '.join(TENANT_TIERS)} [{Tier.STARTER}]", default=str(Tier.STARTER))
        if answer in TENANT_TIERS:
            return Tier(answer)
        _tell(f"there is no tier {answer}")


def _ask(question: str, default: str = "") -> str:
    while True:
        sys.stderr.write(f"{question}: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise typer.Abort
        if answer := line.strip() or default:
            return answer


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
