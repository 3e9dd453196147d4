"""Tokens as a provider, or an attacker, makes them: any header, any payload, any bytes in the place of a signature."""

from __future__ import annotations

import base64
import json
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey, OKPKey, RSAKey
from mutx_control_plane.identity.jose import VerifyingKey

NOW = 1_800_000_000
ISSUER = "https://id.example.com"
AUDIENCE = "client-1"
HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


@cache
def private_key(algorithm: str, which: int = 0, bits: int = 2048):
    """Return a key for an algorithm; `which` tells several apart."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm]())
    if algorithm in {"EdDSA", "Ed25519"}:
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, bits)


def family_of(algorithm: str) -> str:
    return {"RS": "RS256", "PS": "RS256", "Ed": "EdDSA"}.get(algorithm[:2], algorithm)


def key_for(algorithm: str, which: int = 0, bits: int = 2048):
    return private_key(family_of(algorithm), which, bits)


def jwk(algorithm: str, kid: str = "k1", which: int = 0, bits: int = 2048, **members):
    """Return the public JWK of a key."""
    public = key_for(algorithm, which, bits).public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        # joserfc would warn of a small one.
        whole = {"kty": "RSA", "n": b64(numbers.n.to_bytes(bits // 8)), "e": b64(numbers.e.to_bytes(3))}
    else:
        whole = (OKPKey if algorithm[:2] == "Ed" else ECKey).import_key(public).as_dict(private=False)
    return {**whole, "kid": kid, **members}


def verifying(algorithm: str, kid: str = "k1", which: int = 0) -> VerifyingKey:
    kinds = {"RS": RSAKey, "PS": RSAKey, "ES": ECKey, "Ed": OKPKey}
    return VerifyingKey(kid, "", kinds[algorithm[:2]].import_key(key_for(algorithm, which).public_key()))


def b64(content: bytes | dict) -> str:
    if isinstance(content, dict):
        content = json.dumps(content).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def sign_bytes(algorithm: str, message: bytes, key) -> bytes:
    digest = HASHES.get(algorithm[-3:], hashes.SHA256)()
    if algorithm in CURVES:
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        size = (key.key_size + 7) // 8
        return r.to_bytes(size) + s.to_bytes(size)
    if algorithm in {"EdDSA", "Ed25519"}:
        return key.sign(message)
    if algorithm.startswith("PS"):
        return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    return key.sign(message, padding.PKCS1v15(), digest)


def mint(
    claims: dict | bytes | None = None,
    *,
    algorithm: str = "RS256",
    header: dict | bytes | None = None,
    which: int = 0,
    **more: object,
) -> str:
    """Return a token that is rightly signed over whatever it says."""
    head = b64({"alg": algorithm, "kid": "k1"} if header is None else header)
    body = b64(good_claims(**more) if claims is None else claims)
    signature = sign_bytes(algorithm, f"{head}.{body}".encode(), key_for(algorithm, which))
    return f"{head}.{body}.{b64(signature)}"


def good_claims(**changed: object) -> dict:
    """Return an access token's claims, with some changed; None takes one out."""
    whole = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "iat": NOW - 10,
        "exp": NOW + 300,
        "scope": "openid",
    } | changed
    return {name: value for name, value in whole.items() if value is not None}
