"""What the operator writes of identity providers: a role map beside `OIDC_*`, or a file with several providers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml
from mutx_service.settings import SettingsError
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from mutx_control_plane.identity.claims import Rule
from mutx_control_plane.identity.jose import ALGORITHMS
from mutx_control_plane.identity.provider import DEFAULT_ALGORITHMS, ProviderSettings
from mutx_control_plane.identity.provider_http import is_plain_url
from mutx_control_plane.roles import Role

_LARGEST = 1 << 20
_FOR_OTHERS = 0o007
_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_HOST = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"

Form = TypeVar("Form")


class RuleForm(BaseModel):
    """One line of the map: who has this value in this claim has this role in this tenant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: str
    value: str = Field(min_length=1, max_length=512)
    tenant: str = Field(pattern=_LABEL)
    role: Role


class ProviderForm(BaseModel):
    """A provider, as in the file that `MUTX_CONTROL_PLANE_PROVIDERS` names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=_LABEL)
    issuer: str
    client_id: str = Field(min_length=1, max_length=256)
    client_secret_file: Path | None = None
    audience: str = Field(default="", max_length=256)
    jwks_uri: str = ""
    hosts: frozenset[str] = frozenset()
    algorithms: frozenset[str] = DEFAULT_ALGORITHMS
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    rules: tuple[RuleForm, ...] = Field(min_length=1)


def read_rules(path: Path, variable: str) -> tuple[RuleForm, ...]:
    """Return the rules of a YAML file: a list of `{claim, value, tenant, role}`.

    Raises:
        SettingsError: it is no such list.
    """
    return _read(TypeAdapter(tuple[RuleForm, ...]), path, variable)


def read_providers(path: Path, variable: str) -> tuple[ProviderForm, ...]:
    """Return the providers of a YAML file.

    Raises:
        SettingsError: it is no list of providers.
    """
    return _read(TypeAdapter(tuple[ProviderForm, ...]), path, variable)


def settings_of(form: ProviderForm, variable_of: Callable[[str], str]) -> ProviderSettings:
    """Return a provider's settings, its secret read.

    Args:
        form: what the operator wrote.
        variable_of: the variable that a field came of, for errors.

    Raises:
        SettingsError: an address, an algorithm, a host, a scope or a claim that cannot be; no secret in its file.
    """
    for field, url in (("issuer", form.issuer), ("jwks_uri", form.jwks_uri)):
        if (url or field == "issuer") and (not is_plain_url(url) or "?" in url):
            remedy = "use https (on loopback http will do), without user, query or fragment"
            raise SettingsError(variable_of(field), f"has the address {url[:80]!r}", remedy)
    if not form.algorithms or form.algorithms - ALGORITHMS.keys():
        remedy = f"use some of: {', '.join(sorted(ALGORITHMS))}"
        raise SettingsError(
            variable_of("algorithms"), f"has {' '.join(sorted(form.algorithms))[:80]!r}", remedy
        )
    if "openid" not in form.scopes:
        raise SettingsError(variable_of("scopes"), "has no openid", "add it: there is no sign-in without")
    secret_file, secret_variable = form.client_secret_file, variable_of("client_secret_file")
    return ProviderSettings(
        issuer=form.issuer,
        client_id=form.client_id,
        rules=tuple(_rule(each, variable_of("role_map")) for each in form.rules),
        name=form.name,
        audience=form.audience,
        client_secret=read_secret(secret_file, secret_variable) if secret_file else None,
        keys_url=form.jwks_uri,
        hosts=_hosts(form.hosts, variable_of("hosts")),
        algorithms=form.algorithms,
        scopes=form.scopes,
    )


def read_secret(path: Path, variable: str) -> SecretStr:
    """Return a file's secret, without the line's end.

    Raises:
        SettingsError: there is none, or everybody can read it.
    """
    try:
        if path.stat().st_mode & _FOR_OTHERS:
            raise SettingsError(variable, f"names {path}, which everybody can read", "take that right away")
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text:
        raise SettingsError(variable, f"names {path}, which holds no secret", "check the path and the file")
    return SecretStr(text)


def _read(form: TypeAdapter[Form], path: Path, variable: str) -> Form:
    remedy = "see the table of the settings"
    try:
        with path.open("rb") as file:
            content = yaml.safe_load(file.read(_LARGEST))
        # YAML has lists and no tuples: not strict in that.
        return form.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the whole"
        raise SettingsError(variable, f"names {path}: at {place}: {first['msg']}", remedy) from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        raise SettingsError(variable, f"names {path}, which is no YAML", remedy) from None


def _rule(form: RuleForm, variable: str) -> Rule:
    try:
        return Rule(form.claim, form.value, form.tenant, form.role)
    except ValueError as error:
        raise SettingsError(variable, f"has a rule: {error}", "see the claims in the table") from None


def _hosts(hosts: frozenset[str], variable: str) -> frozenset[str]:
    for host in hosts:
        if not is_plain_url(f"https://{host}/") or "/" in host or ":" in host:
            raise SettingsError(variable, f"has the host {host[:80]!r}", "write a host's name alone")
    return frozenset(host.lower() for host in hosts)
