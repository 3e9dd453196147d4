"""`mutx-infra vault deposit|rotate|list|revoke`: provider keys, from the tenant straight to its Vault, never shown."""

from __future__ import annotations

import getpass
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mutx_infra.cli import context as c
from mutx_infra.cli import vault_entrance as v
from mutx_infra.cli.output import Format

from mutx_infra import bootstrap, bootstrap_vault
from mutx_infra.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from mutx_infra.vault.deposits import Place, Stored
    from mutx_infra.vault.handover import Handover

_STDIN = "-"
ProviderArgument = Annotated[str, typer.Argument(metavar="PROVIDER", help="e.g. openai, anthropic.")]
AgentOption = Annotated[
    str | None,
    typer.Option(
        "--agent", metavar="NAME", help="Whose key it is, e.g. agent-1; guard-1 for a key of masks."
    ),
]
SharedOption = Annotated[bool, typer.Option("--shared", help="For every agent of the tenant.")]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="FILE|-", help="Where the key is read. Default: a hidden prompt, or a pipe."
    ),
]
CheckOption = Annotated[
    bool, typer.Option("--check", help="Ask the provider first, from this machine, whether it takes the key.")
]
CheckUrlOption = Annotated[
    str | None,
    typer.Option("--check-url", metavar="URL", help="Ask there, with the key as a bearer token or as known."),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to a group."""
    app.command(epilog="Example: mutx-infra vault deposit acme openai --agent agent-1 --from openai.key")(
        deposit
    )
    app.command(epilog="Example: mutx-infra vault rotate acme openai --agent agent-1 --from openai.key")(
        rotate
    )
    app.command("list", epilog="Example: mutx-infra vault list acme")(list_)
    app.command(epilog="Example: mutx-infra vault revoke acme openai --agent agent-1")(revoke)


def deposit(
    tenant: v.TenantArgument,
    provider: ProviderArgument,
    agent: AgentOption = None,
    shared: SharedOption = False,
    source: FromOption = None,
    check: CheckOption = False,
    check_url: CheckUrlOption = None,
    vault: v.VaultOption = None,
    cert: v.CertOption = None,
    key: v.KeyOption = None,
    address: v.AddressOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Put a provider's key in where there is none; its value is never an argument, and never shown."""
    from mutx_infra.vault.deposits import Keys  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    entrance = v.Way(tenant, vault, cert, key, address).entrance()
    place = _place(entrance.handover, provider, agent, shared=shared)
    with v.entered(entrance) as session:
        keys = Keys(tenant, session)
        keys.require_claimed()
        value = _value(place, source, check=check, url=check_url)
        version = keys.deposit(place, value)
    out.say(f"the key {place} is in, as version {version}")
    if out.format is Format.JSON:
        out.data({"tenant": tenant, **_place_json(place), "version": version})


def rotate(
    tenant: v.TenantArgument,
    provider: ProviderArgument,
    agent: AgentOption = None,
    shared: SharedOption = False,
    source: FromOption = None,
    check: CheckOption = False,
    check_url: CheckUrlOption = None,
    vault: v.VaultOption = None,
    cert: v.CertOption = None,
    key: v.KeyOption = None,
    address: v.AddressOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Replace a provider's key by a new one; agents get it by themselves, within seconds."""
    from mutx_infra.vault.deposits import Keys  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    entrance = v.Way(tenant, vault, cert, key, address).entrance()
    place = _place(entrance.handover, provider, agent, shared=shared)
    with v.entered(entrance) as session:
        keys = Keys(tenant, session)
        keys.require_claimed()
        seen = keys.require(place)
        version = keys.rotate(place, _value(place, source, check=check, url=check_url), seen)
    out.say(f"the key {place} is replaced: version {version} instead of {seen}")
    if out.format is Format.JSON:
        out.data({"tenant": tenant, **_place_json(place), "version": version, "replaced": seen})


def list_(
    tenant: v.TenantArgument,
    vault: v.VaultOption = None,
    cert: v.CertOption = None,
    key: v.KeyOption = None,
    address: v.AddressOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
) -> None:
    """List the tenant's keys: names, versions and ages, never values."""
    from mutx_infra.vault.deposits import Keys  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output)
    with v.entered(v.Way(tenant, vault, cert, key, address).entrance()) as session:
        found = Keys(tenant, session).stored()
    if out.format is Format.JSON:
        out.data({"tenant": tenant, "keys": [_stored_json(each) for each in found]})
    elif found:
        now = bootstrap_vault.now()
        rows = [
            (
                each.place.agent or "(all)",
                each.place.provider,
                each.place.field,
                str(each.version),
                str(each.kept),
                age(now - each.since),
            )
            for each in found
        ]
        out.table(("agent", "provider", "name", "version", "kept", "age"), rows)
    else:
        out.say(f"{tenant} has no keys yet")


def revoke(
    tenant: v.TenantArgument,
    provider: Annotated[
        str | None, typer.Argument(metavar="[PROVIDER]", help="Whose key is destroyed.")
    ] = None,
    agent: AgentOption = None,
    shared: SharedOption = False,
    machine: Annotated[
        str | None, typer.Option("--machine", metavar="HOST", help="Take a host out instead of a key.")
    ] = None,
    vault: v.VaultOption = None,
    cert: v.CertOption = None,
    key: v.KeyOption = None,
    address: v.AddressOption = None,
    output: c.OutputOption = Format.TABLE,
    as_json: c.JsonOption = False,
    quiet: c.QuietOption = False,
) -> None:
    """Destroy every version of a key; or, with --machine, end a host's login, its tokens and its certificates."""
    from mutx_infra.vault.deposits import Keys  # noqa: PLC0415 - keeps the other commands quick

    out = c.make_output(as_json=as_json, output=output, quiet=quiet)
    if (provider is None) == (machine is None):
        raise UsageError(
            "name a provider whose key, or a host that is revoked",
            code="revoke-which",
            remedy=f"e.g. `mutx-infra vault revoke {tenant} openai --shared` or `--machine {tenant}-agent-1`",
        )
    entrance = v.Way(tenant, vault, cert, key, address).entrance()
    if machine is not None:
        with v.entered(entrance) as session:
            ended = bootstrap_vault.make_enrolment(entrance.handover, session).revoke(machine)
        out.say(
            f"{machine} logs in no more; {ended} of its tokens were ended, and its certificates are revoked"
        )
        told: dict[str, object] = {"machine": machine, "revoked_tokens": ended}
    else:
        place = _place(entrance.handover, str(provider), agent, shared=shared)
        with v.entered(entrance) as session:
            Keys(tenant, session).destroy(place)
        out.say(f"every version of the key {place} is destroyed; revoke it at the provider too")
        told = _place_json(place)
    if out.format is Format.JSON:
        out.data({"tenant": tenant, **told})


def age(since: timedelta) -> str:
    """Return how long ago something was, in its largest unit."""
    seconds = max(int(since.total_seconds()), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _place(handover: Handover, provider: str, agent: str | None, *, shared: bool) -> Place:
    from mutx_infra.vault.deposits import make_place  # noqa: PLC0415
    from mutx_infra.vault.enrolment import AGENT_ROLE, GUARD_ROLE  # noqa: PLC0415

    if (agent is None) != shared:
        raise UsageError(
            "say whose key it is: one agent's or everybody's",
            code="key-whose",
            remedy="give either `--agent NAME` or `--shared`",
        )
    agents = frozenset(each.key for each in handover.machines if each.role == AGENT_ROLE)
    guards = {each.key: each.name for each in handover.machines if each.role == GUARD_ROLE}
    return make_place(provider, agent, agents, guards)


def _value(place: Place, source: str | None, *, check: bool, url: str | None) -> SecretStr:
    """Read the key, and have its provider asked where that is wanted; nothing of it is ever printed."""
    from mutx_infra.vault.deposits import check_key  # noqa: PLC0415

    value = check_key(_content(place, source))
    if check:
        bootstrap_vault.find_provider(bootstrap.this_process(), place.provider, url).check(value)
    return value


def _content(place: Place, source: str | None) -> bytes:
    if source is not None and source != _STDIN:
        return bootstrap_vault.read_file(Path(source))
    if source is None and sys.stdin.isatty():
        return getpass.getpass(f"The key {place} (not shown): ").encode()
    text = sys.stdin.read(bootstrap_vault.MAX_FILE_BYTES)
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise RefusedError(
            "the key is no text",
            code="key-characters",
            remedy="give the key alone, as the provider shows it, on one line",
        ) from exc


def _place_json(place: Place) -> dict[str, object]:
    return {"provider": place.provider, "agent": place.agent, "name": place.field}


def _stored_json(stored: Stored) -> dict[str, object]:
    since: datetime = stored.since
    return {
        **_place_json(stored.place),
        "version": stored.version,
        "kept": stored.kept,
        "since": since.isoformat(),
    }
