"""What one engine configured: the API's endpoint, the tailnet, and what the API knows it by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Lock
from urllib.parse import urlsplit

from mutx_sandbox.bridge.sessions import ConfigurationError, Sessions, unknown_settings
from mutx_sandbox.bridge.values import Properties
from mutx_sandbox.tailscale.api import Api, Login

_KEYS = frozenset(
    {
        "apiKey",
        "baseUrl",
        "oauthClientId",
        "oauthClientSecret",
        "pluginDownloadURL",
        "tailnet",
        "userAgent",
        "version",
    }
)
_FILE = "file:"


@dataclass(slots=True)
class Session:
    """A configured provider.

    Attributes:
        api: makes its calls.
        creating: held by a creation that must not be mistaken for another one; the same for all sessions.
        cancelled: set when the engine cancels.
    """

    api: Api
    creating: Lock
    cancelled: Event = field(default_factory=Event)

    @property
    def shown(self) -> Mapping[str, str]:
        """What the log says of it."""
        return {"endpoint": self.api.endpoint, "tailnet": self.api.tailnet}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the daemon was started with, for engines that do not say.

    Attributes:
        endpoint: base URL of the API; the stand-in never calls Tailscale itself.
        tailnet: "-" is the one that the credentials belong to.
        credentials: file with a JSON object, `api_key`; read anew for each engine.
    """

    endpoint: str = ""
    tailnet: str = "-"
    credentials: Path | None = None


class TailscaleSessions(Sessions[Session]):
    """The sessions of all connected engines."""

    def __init__(self, defaults: Defaults) -> None:
        super().__init__()
        self._defaults, self._creating = defaults, Lock()

    def check(self, config: Properties) -> list[tuple[str, str]]:
        """Return what is wrong with a provider's configuration, by property; values are never part of it."""
        failures = unknown_settings("tailscale", config, _KEYS)
        if _said(config, "baseUrl") and not is_loopback(_said(config, "baseUrl")):
            failures.append(
                ("baseUrl", "only an endpoint on this machine is called by the sandbox's stand-in")
            )
        if _said(config, "apiKey") and (_said(config, "oauthClientId") or _said(config, "oauthClientSecret")):
            failures.append(("apiKey", "conflicts with oauthClientId and oauthClientSecret"))
        for one, other in (("oauthClientId", "oauthClientSecret"), ("oauthClientSecret", "oauthClientId")):
            if _said(config, one) and not _said(config, other):
                failures.append((other, f"is missing; {one} alone is no credential"))
        return failures

    def make(self, config: Properties) -> Session:
        """Make a session; nothing is asked of the API yet."""
        endpoint = _said(config, "baseUrl") or self._defaults.endpoint
        if not endpoint:
            raise ConfigurationError("baseUrl", "missing; this stand-in never calls Tailscale itself")
        if not is_loopback(endpoint):
            raise ConfigurationError("baseUrl", "is not on this machine")
        tailnet = _said(config, "tailnet") or self._defaults.tailnet or "-"
        api = Api(endpoint, tailnet, self._login(config), _said(config, "userAgent"))
        return Session(api, self._creating)

    def _login(self, config: Properties) -> Login:
        if _said(config, "oauthClientId"):
            return Login(
                client_id=_resolved(config, "oauthClientId"),
                client_secret=_resolved(config, "oauthClientSecret"),
            )
        key = _resolved(config, "apiKey") or _key_of(self._defaults.credentials)
        if not key:
            raise ConfigurationError(
                "apiKey", "no credentials; set it in the stack's config, or name a credentials file"
            )
        return Login(api_key=key)


def is_loopback(url: str) -> bool:
    """Say whether a URL is on this machine, so that no stand-in ever changes a real tailnet."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme in {"http", "https"} and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False


def _said(config: Properties, key: str) -> str:
    value = config.get(key)
    return "" if value is None else str(value)


def _resolved(config: Properties, key: str) -> str:
    """Return a credential, from the file that `file:PATH` names if it does."""
    value = _said(config, key)
    if not value.startswith(_FILE):
        return value
    try:
        return Path(value.removeprefix(_FILE)).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigurationError(key, f"its file cannot be read: {exc.strerror}") from exc


def _key_of(credentials: Path | None) -> str:
    if credentials is None:
        return ""
    try:
        return str(json.loads(credentials.read_text(encoding="utf-8"))["api_key"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigurationError("apiKey", f"{credentials} has no api_key ({type(exc).__name__})") from exc
