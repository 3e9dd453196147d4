"""Signing in at a provider: OpenID Connect's authorisation code flow with PKCE (RFC 7636), S256 only.

What one browser began, only that browser ends: state, nonce and the PKCE verifier travel in a cookie that is sealed, of
ten minutes. One sign-in has one cookie, named by its state, so that tabs do not undo each other. The provider's answer
is taken from the right provider (RFC 9207), and what it says of a person from the ID token.

Roles come of the ID token, and of the access token where that is a JWT which the provider signed for this client about
the same person: Keycloak, as it is set up, has them only there. The userinfo endpoint is asked for the e-mail address,
when the ID token has none, and never for roles.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256, sha384, sha512
from urllib.parse import quote_plus, urlencode

from mutx_service.problem import Problem
from mutx_service.strict_json import Json

from mutx_control_plane.identity.claims import read_email, read_user
from mutx_control_plane.identity.discovery import Discovery
from mutx_control_plane.identity.encoding import EncodingError, encode_base64url, read_object
from mutx_control_plane.identity.jose import TokenRefused, UnverifiedToken, looks_signed, parse_token
from mutx_control_plane.identity.provider import Provider
from mutx_control_plane.identity.provider_http import ProviderFailed
from mutx_control_plane.identity.sealing import Box, SealBroken
from mutx_control_plane.identity.secret_keys import SecretKeys
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.identity.validity import Expected, subject_of
from mutx_control_plane.principal import SSOTokenUser

LASTS_S = 600
"""For the whole way to the provider and back."""
_STATE = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST_CODE = 4_096
_LONGEST_PATH = 1_024
_OK, _CLIENTS_FAULT, _SERVERS_FAULT = 200, 400, 500
_HASHES = {"256": sha256, "384": sha384, "512": sha512, "DSA": sha512, "519": sha512}
"""For `at_hash`, by the algorithm's last letters; Ed25519's is SHA-512."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser is sent, and the cookie that it is given for `LASTS_S` seconds."""

    url: str
    cookie_name: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the cookie holds: one sign-in that has begun."""

    issuer: str
    state: str
    nonce: str
    verifier: str
    return_to: str
    expires: int


class CodeFlow:
    """Begins and ends sign-ins at one provider.

    Args:
        provider: the one.
        keys: of which the cookie's key is derived.
        redirect_uri: where the provider sends the browser back to, as it is registered there.
        sources: time, randomness.
        note: is told each refusal's reason, one of a few words.
    """

    def __init__(
        self,
        provider: Provider,
        keys: SecretKeys,
        redirect_uri: str,
        sources: Sources,
        note: Callable[[str], None],
    ) -> None:
        self._provider, self._redirect_uri = provider, redirect_uri
        self._box = Box(keys.derive("sign-in-cookie"), sources.random_bytes)
        self._sources, self._note = sources, note

    async def begin(self, return_to: str = "/") -> Begun:
        """Return where to send a browser that wants to sign in.

        Args:
            return_to: a path of ours for when it is done; anything else becomes `/`.

        Raises:
            Problem: `provider-unavailable`.
        """
        try:
            discovery = await self._provider.discoverer.current()
        except ProviderFailed:
            raise Problem("provider-unavailable") from None
        settings = self._provider.settings
        attempt = Attempt(
            issuer=settings.issuer,
            state=self._random_text(),
            nonce=self._random_text(),
            verifier=self._random_text(),
            return_to=local_path(return_to),
            expires=int(self._sources.clock()) + LASTS_S,
        )
        query = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(settings.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": encode_base64url(sha256(attempt.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        name = cookie_name(attempt.state)
        joint = "&" if "?" in discovery.authorization else "?"
        return Begun(
            url=f"{discovery.authorization}{joint}{urlencode(query)}",
            cookie_name=name,
            cookie=self._box.seal(json.dumps(asdict(attempt)).encode(), name),
        )

    async def finish(
        self, query: Sequence[tuple[str, str]], cookies: Mapping[str, str]
    ) -> tuple[SSOTokenUser, str]:
        """Return who signed in, and the path to return to.

        Args:
            query: of the address that the provider sent the browser to.
            cookies: the browser's.

        Raises:
            Problem: `sign-in-failed`, whatever is wrong; `provider-unavailable`.
        """
        try:
            answer = _single(query)
            attempt = self._attempt_of(answer.get("state", ""), cookies)
            discovery = await self._provider.discoverer.current()
            code = _code_of(answer, attempt, discovery)
            return await self._user_of(code, attempt, discovery), attempt.return_to
        except TokenRefused as refused:
            self._note(refused.reason)
            raise Problem("sign-in-failed") from None
        except ProviderFailed:
            self._note("provider")
            raise Problem("provider-unavailable") from None

    def _attempt_of(self, state: str, cookies: Mapping[str, str]) -> Attempt:
        if not _STATE.fullmatch(state):
            raise TokenRefused("state")
        name = cookie_name(state)
        try:
            found = read_object(self._box.open(cookies.get(name, ""), name))
            attempt = Attempt(**found)  # type: ignore[arg-type] # we sealed it
        except (SealBroken, EncodingError, TypeError):
            raise TokenRefused("cookie") from None
        if not hmac.compare_digest(attempt.state.encode(), state.encode()):
            raise TokenRefused("state")
        if self._sources.clock() >= attempt.expires or attempt.issuer != self._provider.settings.issuer:
            raise TokenRefused("cookie")
        return attempt

    async def _user_of(self, code: str, attempt: Attempt, discovery: Discovery) -> SSOTokenUser:
        settings = self._provider.settings
        answer = await self._exchange(code, attempt.verifier, discovery)
        signed, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(signed, str) or not isinstance(access, str):
            raise TokenRefused("answer")
        token = parse_token(signed)
        expected = Expected(settings.issuer, settings.client_id, settings.client_id)
        claims = await self._provider.checked_claims(token, expected)
        _check_id_token(token, attempt.nonce, access)
        user = read_user(claims, settings.rules, *await self._roles_beside(access, subject_of(claims)))
        return user if user.email else await self._with_email(user, access, discovery)

    async def _exchange(self, code: str, verifier: str, discovery: Discovery) -> Mapping[str, Json]:
        settings = self._provider.settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": settings.client_id,
            "code_verifier": verifier,
        }
        basic = None
        if settings.client_secret is not None:
            secret = settings.client_secret.get_secret_value()
            if discovery.takes_basic:
                # RFC 6749, section 2.3.1: both are encoded as in a form first.
                basic = quote_plus(settings.client_id), quote_plus(secret)
            else:
                form["client_secret"] = secret
        answer = await self._provider.http.post_form(discovery.token, form, basic=basic)
        if _CLIENTS_FAULT <= answer.status < _SERVERS_FAULT:
            raise TokenRefused("code")
        if answer.status != _OK:
            raise ProviderFailed("the provider did not exchange the code")
        return answer.document

    async def _roles_beside(self, access: str, subject: str) -> list[Mapping[str, Json]]:
        """Return the access token's claims where it is a JWT that was made for this client and this person."""
        if not looks_signed(access):
            return []
        try:
            claims = await self._provider.claims_for_anybody(parse_token(access))
        except TokenRefused:
            return []
        client = self._provider.settings.client_id
        is_for_us = client in {
            claims.get(name) for name in ("azp", "client_id", "cid") if _is_text(claims, name)
        }
        return [claims] if is_for_us and claims.get("sub") == subject else []

    async def _with_email(self, user: SSOTokenUser, access: str, discovery: Discovery) -> SSOTokenUser:
        """Return the person with the address of the userinfo endpoint, which a sign-in does without."""
        if not discovery.userinfo:
            return user
        try:
            answer = await self._provider.http.get(discovery.userinfo, bearer=access)
        except ProviderFailed:
            return user
        if answer.status != _OK:
            return user
        if answer.document.get("sub") != user.subject:
            raise TokenRefused("userinfo")
        return replace(user, email=read_email(answer.document))

    def _random_text(self) -> str:
        return encode_base64url(self._sources.random_bytes(32))


def cookie_name(state: str) -> str:
    """Return the name of a sign-in's cookie: a browser sends it to this host alone, over TLS (RFC 6265bis)."""
    return f"__Host-mutx-sign-in-{sha256(state.encode()).hexdigest()[:16]}"


def local_path(text: str) -> str:
    """Return a path of our own site, or `/`: never another site's address, however a browser would read it."""
    is_local = text.startswith("/") and not text.startswith("//") and len(text) <= _LONGEST_PATH
    return text if is_local and text.isascii() and text.isprintable() and not set(text) & set("\\ ") else "/"


def _single(query: Sequence[tuple[str, str]]) -> dict[str, str]:
    found = dict(query)
    if len(found) != len(query):
        raise TokenRefused("query")
    return found


def _code_of(answer: Mapping[str, str], attempt: Attempt, discovery: Discovery) -> str:
    if answer.get("iss", attempt.issuer) != attempt.issuer or (
        discovery.names_itself and "iss" not in answer
    ):
        raise TokenRefused("issuer")
    code = answer.get("code", "")
    if "error" in answer or not 0 < len(code) <= _LONGEST_CODE or not (code.isascii() and code.isprintable()):
        raise TokenRefused("code")
    return code


def _check_id_token(token: UnverifiedToken, nonce: str, access: str) -> None:
    claims = token.claims
    # Keycloak's claim `typ` says `ID`; an access token in its place says `Bearer`.
    if token.typ not in {"", "jwt"} or claims.get("typ", "ID") != "ID" or "iat" not in claims:
        raise TokenRefused("kind")
    told = claims.get("nonce")
    if not isinstance(told, str) or not hmac.compare_digest(told.encode(), nonce.encode()):
        raise TokenRefused("nonce")
    if "at_hash" in claims:
        digest = _HASHES[token.algorithm[-3:]](access.encode()).digest()
        if claims["at_hash"] != encode_base64url(digest[: len(digest) // 2]):
            raise TokenRefused("at-hash")


def _is_text(claims: Mapping[str, Json], name: str) -> bool:
    return isinstance(claims.get(name), str)
