"""Signed tokens (JWS in the compact form, RFC 7515): a strict reading, and the check of one signature.

joserfc does the arithmetic. What it leaves open is closed here before it sees anything: the encoding, the size, the
header's members, and which algorithm a key may be used with. A token chooses no key but by its `kid`, and no algorithm
but one that the deployment named.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from mutx_service.strict_json import Json

from mutx_control_plane.identity.encoding import EncodingError, decode_base64url, read_object

LONGEST = 12 * 1024
"""Characters of a token; a request's header has room for 16 KiB."""

PublicKey = RSAKey | ECKey | OKPKey


@dataclass(frozen=True, slots=True)
class Algorithm:
    """How a signature of one `alg` is made.

    Attributes:
        key_type: JWK's `kty`.
        curve: JWK's `crv`; empty for RSA.
        signature_bytes: exactly; 0 for RSA, whose key says it.
        primitive: joserfc's name for it.
    """

    key_type: str
    curve: str
    signature_bytes: int
    primitive: str


ALGORITHMS: Mapping[str, Algorithm] = {
    **{
        name: Algorithm("RSA", "", 0, name) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    },
    "ES256": Algorithm("EC", "P-256", 64, "ES256"),
    "ES384": Algorithm("EC", "P-384", 96, "ES384"),
    "ES512": Algorithm("EC", "P-521", 132, "ES512"),
    # RFC 9864 gives EdDSA over Ed25519 this name; providers write either.
    "EdDSA": Algorithm("OKP", "Ed25519", 64, "Ed25519"),
    "Ed25519": Algorithm("OKP", "Ed25519", 64, "Ed25519"),
}
"""Every algorithm that can be permitted: none is symmetric, so that no public key can be a secret."""

_REFUSED_MEMBERS = frozenset(
    {"jwk", "jku", "x5u", "x5c", "crit", "b64", "cty", "enc", "zip", "epk", "p2c", "p2s"}
)
"""A key that the token brings, an extension that must be understood, another token within, or encryption."""
_KID = re.compile(r"(?!.*\.\.)[A-Za-z0-9._~:=+@-]{1,256}")
_TYP = re.compile(r"[A-Za-z0-9.+/-]{1,64}")
_PARTS = 3


class TokenRefused(Exception):  # noqa: N818 - an answer, as a problem is
    """A token is not taken. The reason is one of a few words, for counters and the audit; no caller is told it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key as a provider, or we, published it.

    Attributes:
        kid: empty where it was published without one.
        algorithm: the only `alg` it may be used with; empty where its publisher did not say.
        key: holds no private part.
    """

    kid: str
    algorithm: str
    key: PublicKey

    def suits(self, algorithm: str) -> bool:
        """Say whether a signature of this `alg` may be checked with this key."""
        wanted = ALGORITHMS[algorithm]
        if self.key.key_type != wanted.key_type:
            return False
        if self.algorithm and ALGORITHMS[self.algorithm].primitive != wanted.primitive:
            return False
        return isinstance(self.key, RSAKey) or self.key.curve_name == wanted.curve


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token of the right form; what it says is worth nothing until `verified_claims` returned it.

    Attributes:
        kid: empty where the header has none.
        typ: in lower case, without `application/`; empty where the header has none.
    """

    algorithm: str
    kid: str
    typ: str
    claims: Mapping[str, Json]
    signing_input: bytes
    signature: bytes


def looks_signed(text: str) -> bool:
    """Say whether a text has a token's three parts; an API key has not."""
    return text.count(".") == _PARTS - 1


def parse_token(text: str) -> UnverifiedToken:
    """Read a token, as it came, without believing it.

    Raises:
        TokenRefused: `form`, `algorithm`, `header` or `signature`.
    """
    parts = text.split(".") if len(text) <= LONGEST else []
    if len(parts) != _PARTS:
        raise TokenRefused("form")
    try:
        header = read_object(decode_base64url(parts[0]))
        claims = read_object(decode_base64url(parts[1]))
        signature = decode_base64url(parts[2])
    except EncodingError:
        raise TokenRefused("form") from None
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenRefused("algorithm")
    kid, typ = _header_text(header, "kid", _KID), _header_text(header, "typ", _TYP)
    if not _REFUSED_MEMBERS.isdisjoint(header):
        raise TokenRefused("header")
    if not signature or ALGORITHMS[algorithm].signature_bytes not in {0, len(signature)}:
        raise TokenRefused("signature")
    return UnverifiedToken(
        algorithm=algorithm,
        kid=kid,
        typ=typ.lower().removeprefix("application/"),
        claims=claims,
        signing_input=f"{parts[0]}.{parts[1]}".encode(),
        signature=signature,
    )


def verified_claims(
    token: UnverifiedToken, keys: Collection[VerifyingKey], algorithms: Collection[str]
) -> Mapping[str, Json]:
    """Return what a token says, once one of the keys fits its signature.

    Args:
        token: as it was read.
        keys: those that may have signed it, by its `kid`; a key that does not suit its algorithm is not tried.
        algorithms: what the issuer may use.

    Raises:
        TokenRefused: `algorithm`, `key-unknown` where no key suits, `signature`.
    """
    if token.algorithm not in algorithms:
        raise TokenRefused("algorithm")
    suiting = [each for each in keys if each.suits(token.algorithm)]
    if not suiting:
        raise TokenRefused("key-unknown")
    if not any(_is_signed_by(token, each.key) for each in suiting):
        raise TokenRefused("signature")
    return token.claims


def _is_signed_by(token: UnverifiedToken, key: PublicKey) -> bool:
    primitive = JWSRegistry.algorithms[ALGORITHMS[token.algorithm].primitive]
    try:
        primitive.check_key(key)
        return primitive.verify(token.signing_input, token.signature, key)
    except (JoseError, ValueError):
        return False


def _header_text(header: Mapping[str, Json], name: str, form: re.Pattern[str]) -> str:
    value = header.get(name, "")
    if name in header and not (isinstance(value, str) and form.fullmatch(value)):
        raise TokenRefused("header")
    return str(value)
