"""A provider's discovery document (OpenID Connect Discovery 1.0), kept for a while, and which of it may be called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mutx_service.strict_json import Json

from mutx_control_plane.identity.provider_http import ProviderFailed, ProviderHttp, Reach, require_ok

FRESH_S, KEPT_S, INTERVAL_S = 3_600.0, 86_400.0, 30.0


@dataclass(frozen=True, slots=True)
class Discovery:
    """Where a provider answers, each address within its reach.

    Attributes:
        userinfo: empty where there is none.
        takes_basic: the client's secret goes in the header; else in the form.
        names_itself: its answer to the browser has `iss` (RFC 9207), and one without it is refused.
    """

    authorization: str
    token: str
    keys: str
    userinfo: str
    takes_basic: bool
    names_itself: bool


def read_discovery(document: Mapping[str, Json], reach: Reach) -> Discovery:
    """Return what a document says.

    Raises:
        ProviderFailed: it is another issuer's, names an address that it may not, or lacks PKCE with S256.
    """
    if document.get("issuer") != reach.issuer:
        raise ProviderFailed("the discovery document is another issuer's")
    methods = document.get("code_challenge_methods_supported")
    # Providers that do PKCE without saying so leave the member out.
    if methods is not None and not (isinstance(methods, list) and "S256" in methods):
        raise ProviderFailed("the provider does not do PKCE with S256")
    userinfo = document.get("userinfo_endpoint")
    secrets_go = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Discovery(
        authorization=reach.permitted(document.get("authorization_endpoint")),
        token=reach.permitted(document.get("token_endpoint")),
        keys=reach.permitted(document.get("jwks_uri")),
        userinfo=reach.permitted(userinfo) if userinfo is not None else "",
        takes_basic=isinstance(secrets_go, list) and "client_secret_basic" in secrets_go,
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


class Discoverer:
    """Gets the document when it is needed; while the provider is down, the last good one serves. For one event loop.

    Args:
        http: calls the provider.
        reach: whose document, and which addresses it may name.
        clock: seconds that only go forward.
    """

    def __init__(self, http: ProviderHttp, reach: Reach, clock: Callable[[], float]) -> None:
        self._http, self._reach, self._clock = http, reach, clock
        self._found: Discovery | None = None
        self._got = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def current(self) -> Discovery:
        """Return the document.

        Raises:
            ProviderFailed: there is none, or too old a one.
        """
        async with self._lock:
            now = self._clock()
            if now - self._got >= FRESH_S and now - self._tried >= INTERVAL_S:
                self._tried = now
                await self._get()
            if self._found is None or self._clock() - self._got >= KEPT_S:
                raise ProviderFailed("there is no discovery document of the provider")
            return self._found

    async def _get(self) -> None:
        url = f"{self._reach.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            self._found = read_discovery(require_ok(await self._http.get(url)), self._reach)
            self._got = self._clock()
        except ProviderFailed:
            if self._found is None:
                raise
