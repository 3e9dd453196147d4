"""Our own access tokens: signed, for 15 minutes, with everything that a request needs to know of its caller."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from joserfc import jws
from mutx_service.strict_json import Json

from mutx_control_plane.identity.jose import TokenRefused, UnverifiedToken, verified_claims
from mutx_control_plane.identity.ports import Account
from mutx_control_plane.identity.signing import ALGORITHM, LIFETIME_S, KeyRing
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.identity.validity import ACCESS_TOKEN_TYP, Expected, check_validity, subject_of
from mutx_control_plane.principal import Method, Principal
from mutx_control_plane.roles import Role

AUDIENCE = "mutx-control-plane"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token, which is a secret, and for how many seconds it lasts."""

    token: str
    lasts_s: int = LIFETIME_S

    def __repr__(self) -> str:
        return "AccessToken(...)"


class AccessTokens:
    """Makes and checks our own tokens.

    Args:
        keys: the ring as it is now.
        issuer: the control plane's public URL.
        sources: time and ids.
    """

    def __init__(self, keys: Callable[[], KeyRing], issuer: str, sources: Sources) -> None:
        self.issuer = issuer
        self._keys, self._sources = keys, sources
        self._expected = Expected(issuer, AUDIENCE)

    def issue(self, account: Account, family: UUID) -> AccessToken:
        """Return a token of an account, which came of a session."""
        now = int(self._sources.clock())
        key = self._keys().signer(now)
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": str(account.id),
            "tenant": account.tenant,
            "roles": sorted(account.roles),
            "family": str(family),
            "jti": str(self._sources.make_id()),
            "iat": now,
            "exp": now + LIFETIME_S,
        }
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": ACCESS_TOKEN_TYP}
        content = json.dumps(claims, separators=(",", ":")).encode()
        return AccessToken(jws.serialize_compact(header, content, key.private, algorithms=[ALGORITHM]))

    def verify(self, token: UnverifiedToken) -> Principal:
        """Return whom a token of ours names.

        Raises:
            TokenRefused: it is not valid, or it is no access token.
        """
        now = self._sources.clock()
        if token.typ != ACCESS_TOKEN_TYP:
            raise TokenRefused("kind")
        keys = [key for key in self._keys().verifying(now) if key.kid == token.kid]
        claims = verified_claims(token, keys, {ALGORITHM})
        check_validity(claims, self._expected, now)
        return _principal(claims)


def _principal(claims: Mapping[str, Json]) -> Principal:
    """Return the caller. We signed these claims: what is wrong in them was written by an older or newer server."""
    tenant, roles, family = claims.get("tenant"), claims.get("roles"), claims.get("family")
    if not isinstance(tenant, str) or not isinstance(roles, list) or not isinstance(family, str):
        raise TokenRefused("claims")
    try:
        return Principal(
            user=UUID(subject_of(claims)),
            tenant=tenant,
            roles=frozenset(Role(str(role)) for role in roles),
            method=Method.ACCESS_TOKEN,
            family=UUID(family),
        )
    except ValueError:
        raise TokenRefused("claims") from None
