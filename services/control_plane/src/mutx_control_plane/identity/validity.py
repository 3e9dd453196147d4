"""What a verified token must say of itself before anything else in it counts: issuer, audience, time, kind.

Times are whole numbers of seconds since 1970, which every provider here writes (RFC 7519 would allow fractions); a text
or a boolean is none. Both clocks may differ by `LEEWAY_S`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mutx_service.strict_json import Json

from mutx_control_plane.identity.jose import TokenRefused, UnverifiedToken

LEEWAY_S = 60
ACCESS_TOKEN_TYP = "at+jwt"  # noqa: S105 - RFC 9068's name of the kind
_SUBJECT = re.compile(r"[^\x00-\x1f\x7f]{1,255}")
_LATEST = 1 << 40
_ID_TOKEN_MEMBERS = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})
_ID_TOKEN_TYPES = frozenset({"", "jwt"})


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose token it must be, and for whom.

    Attributes:
        issuer: compared character by character: Auth0's ends in a slash, Okta's does not.
        audience: one of the token's.
        party: an `azp` of a token for many audiences must be this; empty takes any.
    """

    issuer: str
    audience: str
    party: str = ""


def check_validity(claims: Mapping[str, Json], expected: Expected, now: float) -> None:
    """Let a token's claims on that are for us, from the issuer, and of now.

    Raises:
        TokenRefused: `issuer`, `audience`, `expired`, `not-yet` or `claims`.
    """
    check_issued(claims, expected.issuer, now)
    _check_audience(claims, expected)


def check_issued(claims: Mapping[str, Json], issuer: str, now: float) -> None:
    """Let a token's claims on that are from the issuer, about somebody, and of now, for whomever they are.

    Raises:
        TokenRefused: `issuer`, `expired`, `not-yet` or `claims`.
    """
    if claims.get("iss") != issuer:
        raise TokenRefused("issuer")
    expires, begins, issued = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        raise TokenRefused("claims")
    if now >= expires + LEEWAY_S:
        raise TokenRefused("expired")
    if any(each is not None and each > now + LEEWAY_S for each in (begins, issued)):
        raise TokenRefused("not-yet")
    subject_of(claims)


def subject_of(claims: Mapping[str, Json]) -> str:
    """Return the subject.

    Raises:
        TokenRefused: `claims`, where it is no text of 1 to 255 printable characters.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise TokenRefused("claims")
    return subject


def check_provider_access_token(token: UnverifiedToken, *, is_audience_ours_alone: bool) -> None:
    """Let a provider's access token on, and neither its ID token nor its refresh token.

    Only some providers write `at+jwt` (RFC 9068). For the rest: none may have what only an ID token has, and where the
    audience is the client's id, which an ID token's is too, something must say that it is an access token: a scope
    (`scope`, Okta's `scp`), or Keycloak's claim `typ`.

    Args:
        token: verified.
        is_audience_ours_alone: the audience names this API, and is not the client's id.

    Raises:
        TokenRefused: `kind`.
    """
    claims = token.claims
    kind = claims.get("typ", "Bearer")
    if kind != "Bearer" or not _ID_TOKEN_MEMBERS.isdisjoint(claims):
        raise TokenRefused("kind")
    if token.typ == ACCESS_TOKEN_TYP:
        return
    if token.typ not in _ID_TOKEN_TYPES:
        raise TokenRefused("kind")
    if not is_audience_ours_alone and claims.keys().isdisjoint({"scope", "scp", "typ"}):
        raise TokenRefused("kind")


def _check_audience(claims: Mapping[str, Json], expected: Expected) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not all(isinstance(each, str) for each in audiences) or expected.audience not in audiences:
        raise TokenRefused("audience")
    party = claims.get("azp")
    if expected.party and (party is not None or len(audiences) > 1) and party != expected.party:
        raise TokenRefused("audience")


def _seconds(claims: Mapping[str, Json], name: str) -> int | None:
    value = claims.get(name)
    if name not in claims:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LATEST:
        raise TokenRefused("claims")
    return value
