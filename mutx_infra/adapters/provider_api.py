"""Providers of models over HTTPS: whether they take a key. Of an answer only the status is read."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from mutx_infra.errors import OutsideError, RefusedError, UsageError

TIMEOUT_S = 15.0
_OK = 200
_NO = (401, 403)


@dataclass(frozen=True, slots=True)
class _Known:
    """How one provider is asked.

    Attributes:
        headers: that carry the key, `{}` standing for it.
    """

    url: str
    headers: Mapping[str, str]


_KNOWN = {
    "openai": _Known("https://api.openai.com/v1/models", {"Authorization": "Bearer {}"}),
    "anthropic": _Known(
        "https://api.anthropic.com/v1/models", {"x-api-key": "{}", "anthropic-version": "2023-06-01"}
    ),
}
_OTHER = {"Authorization": "Bearer {}"}


@dataclass(frozen=True, slots=True)
class HttpsProvider:
    """One provider.

    Attributes:
        url: that is asked; redirections are not followed, since they would take the key elsewhere.
        headers: that carry the key.
        proxy: host and port of an HTTP proxy that leads there, or None.
    """

    url: str
    headers: Mapping[str, str]
    proxy: tuple[str, int] | None = None

    def check(self, key: SecretStr) -> None:
        """Ask with the key."""
        if not key.get_secret_value().isascii():
            # http.client's own words would repeat the header.
            raise self._unreachable("the key has letters that no header can carry")
        try:
            status = self._status(key)
        except (OSError, http.client.HTTPException) as exc:
            raise self._unreachable(type(exc).__name__) from exc
        if status in _NO:
            raise RefusedError(
                f"{self._host} does not take this key (status {status}); nothing was stored",
                code="provider-refused",
                remedy="make a new key at the provider, or see that this one is not restricted",
            )
        if status != _OK:
            raise self._unreachable(f"status {status}")

    @property
    def _host(self) -> str:
        return urlsplit(self.url).netloc

    def _status(self, key: SecretStr) -> int:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or http.client.HTTPS_PORT
        context = ssl.create_default_context()
        where = self.proxy or (host, port)
        connection = http.client.HTTPSConnection(*where, timeout=TIMEOUT_S, context=context)
        if self.proxy is not None:
            connection.set_tunnel(host, port)
        headers = {name: text.replace("{}", key.get_secret_value()) for name, text in self.headers.items()}
        try:
            connection.request("GET", parts.path or "/", headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def _unreachable(self, why: str) -> OutsideError:
        return OutsideError(
            f"{self._host} did not say whether it takes this key ({why}); nothing was stored",
            code="provider-unreachable",
            remedy="try again, name another address with `--check-url`, or leave `--check` out",
        )


def find_provider(name: str, url: str | None, proxy: str | None) -> HttpsProvider:
    """Return how a provider is asked.

    Args:
        name: e.g. `openai`.
        url: to ask instead of the provider's own; needed for one that is not known.
        proxy: URL of an HTTP proxy, or None.

    Raises:
        UsageError: the provider is not known and no address was given, or it is none of HTTPS (code `check-url`).
    """
    known = _KNOWN.get(name)
    asked = url or (known.url if known is not None else "")
    parts = urlsplit(asked)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise UsageError(
            f"{name} can be checked at no address {asked!r}"
            if asked
            else f"how to check a key of {name} is not known",
            code="check-url",
            remedy="name an address with `--check-url https://…` that answers 200 to a good key, or drop `--check`",
        )
    via = urlsplit(proxy) if proxy else None
    where = (via.hostname, via.port or 3128) if via is not None and via.hostname else None
    return HttpsProvider(asked, known.headers if known is not None else _OTHER, where)
