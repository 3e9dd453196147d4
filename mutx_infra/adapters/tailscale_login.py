"""How the toolkit logs in to Tailscale's API, by the variables that the vendor's own tools take.

A federated identity needs no stored secret (CI), an OAuth client one that can be scoped, an API token is a person's own
and can do all that the person may: the first of these that the variables hold is used. Endpoints: RFC 6749 section 4.4
at `/api/v2/oauth/token`, and `/api/v2/oauth/token-exchange` for identities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from mutx_infra.environment_tailnet import Tailnet
from mutx_infra.errors import RefusedError, SettingsError

CLIENT_ID = "TAILSCALE_OAUTH_CLIENT_ID"
CLIENT_SECRET = "TAILSCALE_OAUTH_CLIENT_SECRET"  # noqa: S105 - the variable's name
IDENTITY_TOKEN = "TAILSCALE_IDENTITY_TOKEN"  # noqa: S105
API_KEY = "TAILSCALE_API_KEY"

_VARIABLES = (CLIENT_ID, CLIENT_SECRET, IDENTITY_TOKEN, API_KEY)

Post = Callable[[str, Mapping[str, str]], Mapping[str, Any]]
"""Sends a form to a path below `/api/v2`, without credentials, and returns the answer."""


@dataclass(frozen=True, slots=True)
class Login:
    """One way to log in.

    Attributes:
        how: for people, e.g. `the OAuth client k123`.
        path: where a token is asked for; empty where the token is there already.
        form: what is sent there.
        token: an API token.
    """

    how: str
    path: str = ""
    form: Mapping[str, SecretStr] = field(default_factory=dict)
    token: SecretStr = field(default_factory=lambda: SecretStr(""))

    def access_token(self, post: Post) -> SecretStr:
        """Return what requests carry; a new one for an hour where it is not an API token.

        Raises:
            RefusedError: an answer without a token (code `tailscale-credentials`); and what `post` raises.
        """
        if not self.path:
            return self.token
        answer = post(self.path, {name: value.get_secret_value() for name, value in self.form.items()})
        if not isinstance(found := answer.get("access_token"), str) or not found:
            raise RefusedError(
                f"Tailscale gave no access token to {self.how}",
                code="tailscale-credentials",
                remedy="check the credential in Tailscale's admin console, then run the same command again",
            )
        return SecretStr(found)


def credentials_of(tailnet: Tailnet, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with the credential for a tailnet, and no others; the profile's file comes before them.

    Raises:
        SettingsError: the file cannot be read (code `tailscale-key-file`).
    """
    if tailnet.api_key_file is None:
        return {name: variables[name] for name in _VARIABLES if variables.get(name)}
    try:
        return {API_KEY: Path(tailnet.api_key_file).read_text(encoding="ascii").strip()}
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(
            f"the API token in {tailnet.api_key_file} cannot be read",
            code="tailscale-key-file",
            remedy="correct `tailnet.api_key_file` in the profile",
            detail=str(exc),
        ) from exc


def login_of(variables: Mapping[str, str]) -> Login:
    """Return how to log in.

    Raises:
        RefusedError: nothing is there, or half of it (code `tailscale-credentials`).
    """
    given = {name: variables.get(name, "") for name in _VARIABLES}
    client = given[CLIENT_ID]
    if client and given[IDENTITY_TOKEN]:
        form = {"client_id": SecretStr(client), "jwt": SecretStr(given[IDENTITY_TOKEN])}
        return Login(f"the federated identity {client}", "oauth/token-exchange", form)
    if client and given[CLIENT_SECRET]:
        form = {
            "grant_type": SecretStr("client_credentials"),
            "client_id": SecretStr(client), "client_secret": SecretStr(given[CLIENT_SECRET]),
        }  # fmt: skip
        return Login(f"the OAuth client {client}", "oauth/token", form)
    if given[API_KEY]:
        return Login("the API token", token=SecretStr(given[API_KEY]))
    raise RefusedError(
        "there are no whole credentials for Tailscale's API",
        code="tailscale-credentials",
        remedy=f"set {CLIENT_ID} with {IDENTITY_TOKEN} or {CLIENT_SECRET}; or {API_KEY}, a person's own token",
        detail=f"set: {', '.join(name for name, value in given.items() if value) or 'none of them'}",
    )
