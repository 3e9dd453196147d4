"""What identity is told by the environment; each error names the variable and what to do.

`OIDC_*`, `AUTH_*` and `SECRET_ENCRYPTION_KEY` have the names that the platform gives them; the rest have the service's
prefix.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from mutx_service.settings import Environment, SettingsError
from pydantic import SecretStr

from mutx_control_plane.identity.address import Network
from mutx_control_plane.identity.private_file import write_private
from mutx_control_plane.identity.provider import DEFAULT_ALGORITHMS, ProviderSettings
from mutx_control_plane.identity.provider_file import (
    ProviderForm,
    read_providers,
    read_rules,
    read_secret,
    settings_of,
)
from mutx_control_plane.identity.provider_http import is_plain_url
from mutx_control_plane.identity.secret_keys import SecretKeyError, SecretKeys, read_secret_keys
from mutx_control_plane.identity.sessions import SessionRules
from mutx_control_plane.identity.throttle import Rate
from mutx_control_plane.identity.transit import TransitSettings

PREFIX = "MUTX_CONTROL_PLANE_"
VARIABLES = {
    "PUBLIC_URL": "where browsers and callers reach the service, as https://HOST; it issues tokens under that name",
    "SIGNING_KEYS": "folder of the keys that sign access tokens; none makes one in the state directory",
    "PROVIDERS": "YAML file with several identity providers, beside or instead of `OIDC_*`",
    "REDIS_URL": "`redis://`, `rediss://` or `unix://`: rate limits over all workers; none counts in each",
    "TRUSTED_PROXIES": "networks of those who may write `X-Forwarded-For`; none takes it from nobody",
    "VAULT_TOKEN_FILE": "file with a token for `VAULT_ADDR` (authority: `VAULT_CACERT`), which then seals API keys",
    "VAULT_MOUNT": "of its transit engine; transit",
    "VAULT_KEY": "of that engine, a derived one; api-keys",
    "REFRESH_GRACE_SECONDS": "how long a used refresh token still answers, for tabs at once; 10",
    "SESSION_DAYS": "after which a person signs in anew, however often they came; 30",
}
"""With the service's prefix."""
OIDC_VARIABLES = {
    "ISSUER": "the provider's issuer, character by character as in its tokens",
    "CLIENT_ID": "this service's id at the provider",
    "CLIENT_SECRET_FILE": "file with the client's secret; none for a public client",
    "JWKS_URI": "where the provider's keys are; else its discovery says so",
    "AUDIENCE": "of access tokens that are taken as they are; the client's id",
    "ROLE_MAP": "YAML file, a list of `{claim, value, tenant, role}`; what it does not name grants nothing",
    "ALGORITHMS": "that the provider may sign with; RS256 PS256 ES256 EdDSA",
    "HOSTS": "that its discovery may name beside its own; Google's are known",
    "SCOPES": "asked for at sign-in; openid email profile",
}
"""With `OIDC_` before them."""
OTHER_VARIABLES = {
    "AUTH_RATE_LIMIT_REQUESTS": "tries to prove who one is, of an account and of an address; 20",
    "AUTH_RATE_LIMIT_WINDOW_SECONDS": "within any so many seconds; 60",
    "SECRET_ENCRYPTION_KEY": "`ID:BASE64[,ID:BASE64…]`, 32 random bytes each, the first in force",
    "SECRET_ENCRYPTION_KEY_FILE": "file with the same",
}
_SECRETS_FILE = "secret-encryption-key"
_LONGEST_ID = 256
_PATH_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """What identity is told.

    Attributes:
        public_url: without a slash at its end.
        secrets: None where none are set; then they are kept in the state directory (`keep_secrets`).
        signing_keys: None, as before.
        vault: None where `secrets` seal API keys.
    """

    public_url: str
    providers: tuple[ProviderSettings, ...]
    secrets: SecretKeys | None
    signing_keys: Path | None
    redis_url: SecretStr
    proxies: tuple[Network, ...]
    rate: Rate
    session: SessionRules
    vault: TransitSettings | None = None


def read_identity_settings(variables: Mapping[str, str], default_url: str) -> IdentitySettings:
    """Return the settings of an environment. Unknown names with the service's prefix are for who reads the rest.

    Args:
        variables: of the process.
        default_url: where nobody says `PUBLIC_URL`: where the service listens.

    Raises:
        SettingsError: the first variable that is wrong, or contradicts another.
    """
    own, named = Environment(variables, PREFIX), Environment(variables, "")
    Environment(variables, "OIDC_").refuse_unknown({f"OIDC_{name}" for name in OIDC_VARIABLES})
    Environment(variables, "AUTH_RATE_LIMIT_").refuse_unknown(OTHER_VARIABLES)
    public_url = _read_public_url(own, default_url)
    return IdentitySettings(
        public_url=public_url,
        providers=_read_all_providers(variables, own, public_url),
        secrets=_read_secrets(named),
        signing_keys=_read_folder(own, "SIGNING_KEYS"),
        redis_url=SecretStr(_read_redis(own)),
        proxies=_read_networks(own),
        rate=Rate(
            named.number("AUTH_RATE_LIMIT_REQUESTS", 20, highest=100_000),
            named.number("AUTH_RATE_LIMIT_WINDOW_SECONDS", 60, highest=86_400),
        ),
        session=SessionRules(
            grace=timedelta(seconds=own.number("REFRESH_GRACE_SECONDS", 10, lowest=0, highest=60)),
            longest=timedelta(days=own.number("SESSION_DAYS", 30, highest=365)),
        ),
        vault=_read_vault(own, named),
    )


def keep_secrets(state: Path, random_bytes: Callable[[int], bytes]) -> SecretKeys:
    """Return the secrets that the state directory keeps, made at the first start. Only their owner can read them.

    Raises:
        SettingsError: the file is there and holds none.
    """
    path = state / _SECRETS_FILE
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # another process was first
            write_private(path, f"made-here:{base64.b64encode(random_bytes(32)).decode()}\n".encode())
    return _parse_secrets(read_secret(path, "STATE_DIRECTORY").get_secret_value(), "STATE_DIRECTORY")


def _read_public_url(own: Environment, default: str) -> str:
    value = own.text("PUBLIC_URL") or default
    parts = urlsplit(value) if is_plain_url(value) else None
    if parts is None or parts.path not in {"", "/"} or parts.query:
        raise own.error("PUBLIC_URL", f"is {value[:80]!r}", "write it as https://HOST[:PORT], without a path")
    return value.removesuffix("/")


def _read_all_providers(
    variables: Mapping[str, str], own: Environment, public_url: str
) -> tuple[ProviderSettings, ...]:
    path = own.file("PROVIDERS")
    variable = f"{PREFIX}PROVIDERS"
    forms = read_providers(path, variable) if path else ()
    found = [settings_of(form, lambda _field: variable) for form in forms]
    if (one := _read_oidc(Environment(variables, "OIDC_"))) is not None:
        found.insert(0, one)
    issuers = [each.issuer for each in found]
    if public_url in issuers:
        raise SettingsError("OIDC_ISSUER", "is this service itself", "name the identity provider")
    if len(set(issuers)) != len(issuers) or len({each.name for each in found}) != len(found):
        remedy = "name each one once; OIDC_ISSUER's is called `sso`"
        raise SettingsError(variable, "has an issuer or a name twice", remedy)
    return tuple(found)


def _read_oidc(oidc: Environment) -> ProviderSettings | None:
    set_ones = sorted(name for name in OIDC_VARIABLES if oidc.text(name))
    if not set_ones:
        return None
    for needed in ("ISSUER", "CLIENT_ID", "ROLE_MAP"):
        if needed not in set_ones:
            raise oidc.error(needed, f"is not set, and OIDC_{set_ones[0]} is", "set it, or none of them")
    role_map = oidc.file("ROLE_MAP")
    rules = read_rules(role_map, "OIDC_ROLE_MAP") if role_map else ()
    if not rules:
        raise oidc.error("ROLE_MAP", "grants nobody anything", "write at least one rule")
    if len(oidc.text("CLIENT_ID")) > _LONGEST_ID or len(oidc.text("AUDIENCE")) > _LONGEST_ID:
        raise oidc.error("CLIENT_ID", "or the audience is too long", f"use at most {_LONGEST_ID} characters")
    form = ProviderForm(
        name="sso",
        issuer=oidc.text("ISSUER"),
        client_id=oidc.text("CLIENT_ID"),
        client_secret_file=oidc.file("CLIENT_SECRET_FILE"),
        audience=oidc.text("AUDIENCE"),
        jwks_uri=oidc.text("JWKS_URI"),
        hosts=oidc.words("HOSTS"),
        algorithms=oidc.words("ALGORITHMS") or DEFAULT_ALGORITHMS,
        scopes=tuple(oidc.text("SCOPES").split()) or ("openid", "email", "profile"),
        rules=rules,
    )
    return settings_of(form, lambda field: f"OIDC_{field.upper()}")


def _read_secrets(named: Environment) -> SecretKeys | None:
    text, path = named.text("SECRET_ENCRYPTION_KEY"), named.file("SECRET_ENCRYPTION_KEY_FILE")
    if text and path:
        raise named.error("SECRET_ENCRYPTION_KEY", "is set, and its _FILE too", "set one of them")
    if path is not None:
        secret = read_secret(path, "SECRET_ENCRYPTION_KEY_FILE").get_secret_value()
        return _parse_secrets(secret, "SECRET_ENCRYPTION_KEY_FILE")
    return _parse_secrets(text, "SECRET_ENCRYPTION_KEY") if text else None


def _parse_secrets(text: str, variable: str) -> SecretKeys:
    try:
        return read_secret_keys(text)
    except SecretKeyError as error:
        remedy = "write ID:BASE64, as of `openssl rand -base64 32`; a comma parts several"
        raise SettingsError(variable, str(error), remedy) from None


def _read_vault(own: Environment, named: Environment) -> TransitSettings | None:
    token_file = own.file("VAULT_TOKEN_FILE")
    if token_file is None:
        for name in ("VAULT_MOUNT", "VAULT_KEY"):
            if own.text(name):
                raise own.error(name, "is set, and VAULT_TOKEN_FILE is not", "set both or none")
        return None
    address = named.url("VAULT_ADDR", None)
    if address is None:
        raise named.error("VAULT_ADDR", f"is not set, and {PREFIX}VAULT_TOKEN_FILE is", "set both or none")
    mount, key = own.text("VAULT_MOUNT") or "transit", own.text("VAULT_KEY") or "api-keys"
    for name, value in (("VAULT_MOUNT", mount), ("VAULT_KEY", key)):
        if not _PATH_PART.fullmatch(value):
            raise own.error(name, f"is {value[:60]!r}", "use letters, digits and hyphens")
    authority = named.file("VAULT_CACERT")
    return TransitSettings(address.rstrip("/"), token_file, key, mount, authority)


def _read_folder(own: Environment, name: str) -> Path | None:
    value = own.text(name)
    if value and not Path(value).is_dir():
        raise own.error(name, "names no folder", "check the path, and that the unit's user can see it")
    return Path(value) if value else None


def _read_redis(own: Environment) -> str:
    value = own.text("REDIS_URL")
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise own.error("REDIS_URL", "is no address of Redis", "use redis://, rediss:// or unix://")
    return value


def _read_networks(own: Environment) -> tuple[Network, ...]:
    found = []
    for word in sorted(own.words("TRUSTED_PROXIES")):
        try:
            network = ipaddress.ip_network(word)
        except ValueError:
            raise own.error(
                "TRUSTED_PROXIES", f"has {word[:60]!r}", "write networks, as 10.0.0.0/24"
            ) from None
        if network.prefixlen == 0:
            raise own.error("TRUSTED_PROXIES", "trusts everybody", "name the proxies' networks alone")
        found.append(network)
    return tuple(found)
