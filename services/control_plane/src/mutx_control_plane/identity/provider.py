"""One identity provider: whose access tokens are taken as they are, and whose keys its ID tokens are checked with.

A provider's access token is taken by its audience (`validity.check_provider_access_token`); an ID token never is, other
than by the code flow, which asked for it with a nonce (`oidc`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mutx_service.strict_json import Json
from pydantic import SecretStr

from mutx_control_plane.identity.claims import Rule, read_user
from mutx_control_plane.identity.discovery import Discoverer
from mutx_control_plane.identity.jose import TokenRefused, UnverifiedToken, verified_claims
from mutx_control_plane.identity.jwks import Freshness, KeyCache
from mutx_control_plane.identity.provider_http import ProviderHttp, Reach, require_ok
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.identity.validity import (
    Expected,
    check_issued,
    check_provider_access_token,
    check_validity,
)
from mutx_control_plane.principal import SSOTokenUser

DEFAULT_ALGORITHMS = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
GOOGLE = "https://accounts.google.com"
GOOGLE_HOSTS = frozenset({"oauth2.googleapis.com", "openidconnect.googleapis.com", "www.googleapis.com"})


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What the operator says of a provider.

    Attributes:
        issuer: character by character as in its tokens.
        name: in our own paths; the address that browsers come back to differs by it.
        audience: of access tokens; the client's id where the provider has no audience for the API.
        keys_url: where its keys are, instead of what discovery says.
        hosts: that discovery may name beside the issuer's own; Google's are known.
    """

    issuer: str
    client_id: str
    rules: tuple[Rule, ...]
    name: str = "sso"
    audience: str = ""
    client_secret: SecretStr | None = None
    keys_url: str = ""
    hosts: frozenset[str] = frozenset()
    algorithms: frozenset[str] = DEFAULT_ALGORITHMS
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    freshness: Freshness = field(default_factory=Freshness)

    @property
    def reach(self) -> Reach:
        """Which addresses its discovery may name."""
        return Reach(self.issuer, self.hosts | (GOOGLE_HOSTS if self.issuer == GOOGLE else frozenset()))


class Provider:
    """Checks a provider's tokens.

    Args:
        settings: the operator's.
        http: calls the provider.
        sources: time.
    """

    def __init__(self, settings: ProviderSettings, http: ProviderHttp, sources: Sources) -> None:
        self.settings, self.http, self._sources = settings, http, sources
        self.discoverer = Discoverer(http, settings.reach, sources.monotonic)
        self._keys = KeyCache(self._fetch_keys, settings.algorithms, sources.monotonic, settings.freshness)

    async def user_of(self, token: UnverifiedToken) -> SSOTokenUser:
        """Return whom an access token of the provider's names.

        Raises:
            TokenRefused: it is not valid, is no access token, or grants nothing here.
            ProviderFailed: there are no keys to check it with.
        """
        settings = self.settings
        audience = settings.audience or settings.client_id
        is_ours_alone = audience != settings.client_id
        check_provider_access_token(token, is_audience_ours_alone=is_ours_alone)
        party = "" if is_ours_alone else settings.client_id
        claims = await self.checked_claims(token, Expected(settings.issuer, audience, party))
        return read_user(claims, settings.rules)

    async def checked_claims(self, token: UnverifiedToken, expected: Expected) -> Mapping[str, Json]:
        """Return a token's claims once they and its signature are valid. What needs no key is looked at first.

        Raises:
            TokenRefused: it is not valid.
            ProviderFailed: there are no keys to check it with.
        """
        check_validity(token.claims, expected, self._sources.clock())
        return await self._signed_claims(token)

    async def claims_for_anybody(self, token: UnverifiedToken) -> Mapping[str, Json]:
        """Return the claims of a valid token of the provider's, whoever its audience is.

        Raises:
            TokenRefused: it is not valid.
            ProviderFailed: there are no keys to check it with.
        """
        check_issued(token.claims, self.settings.issuer, self._sources.clock())
        return await self._signed_claims(token)

    async def _signed_claims(self, token: UnverifiedToken) -> Mapping[str, Json]:
        if token.algorithm not in self.settings.algorithms:
            raise TokenRefused("algorithm")
        keys = await self._keys.keys_for(token.kid, token.algorithm)
        return verified_claims(token, keys, self.settings.algorithms)

    async def _fetch_keys(self) -> Mapping[str, Json]:
        url = self.settings.keys_url or (await self.discoverer.current()).keys
        return require_ok(await self.http.get(url))
