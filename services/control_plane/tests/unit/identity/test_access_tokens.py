"""Our own access tokens and the keys that sign them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jws
from mutx_control_plane.identity.access_tokens import AUDIENCE, AccessTokens
from mutx_control_plane.identity.jose import TokenRefused, parse_token
from mutx_control_plane.identity.ports import Account
from mutx_control_plane.identity.signing import (
    LIFETIME_S,
    KeyFolder,
    KeyRing,
    SigningKeyError,
    make_key,
    read_keys,
)
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.principal import Method
from mutx_control_plane.roles import Role, Scope
from token_mint import NOW

OURS = "https://api.mutx.example"
ANN = Account(UUID(int=1), "acme", "ann@acme.example", frozenset({Role.DEVELOPER, Role.AUDIT_ADMIN}))
FAMILY, TOKEN_ID = UUID(int=2), UUID(int=3)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


class World:
    """A folder of keys, a clock, and what makes and checks tokens with them."""

    def __init__(self, folder: Path) -> None:
        self.now, self.folder = float(NOW), folder
        make_key(folder, at(-100))
        self.keys = KeyFolder(folder, lambda: self.now)
        self.tokens = AccessTokens(
            self.keys.current, OURS, Sources(lambda: self.now, make_id=lambda: TOKEN_ID)
        )

    def issue(self) -> str:
        return self.tokens.issue(ANN, FAMILY).token

    def verify(self, token: str):
        return self.tokens.verify(parse_token(token))

    def refusal(self, token: str) -> str:
        with pytest.raises(TokenRefused) as refused:
            self.verify(token)
        return refused.value.reason

    def forge(self, header: dict | None = None, **changed) -> str:
        """Sign whatever claims with our own key."""
        key = self.keys.current().signer(self.now)
        claims = {**parse_token(self.issue()).claims, **changed}
        whole = {"alg": "ES256", "kid": key.kid, "typ": "at+jwt", **(header or {})}
        return jws.serialize_compact(whole, json.dumps(claims).encode(), key.private, algorithms=["ES256"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_token_names_its_account_tenant_roles_and_session(world):
    caller = world.verify(world.issue())

    assert (caller.user, caller.tenant, caller.roles) == (ANN.id, "acme", ANN.roles)
    assert (caller.method, caller.family, caller.key) == (Method.ACCESS_TOKEN, FAMILY, None)
    assert caller.scopes == {Scope.ADMIN}


def test_a_token_lasts_fifteen_minutes_and_says_so_in_its_claims(world):
    issued = world.tokens.issue(ANN, FAMILY)
    claims = parse_token(issued.token).claims

    assert issued.lasts_s == claims["exp"] - claims["iat"] == 15 * 60
    assert claims["jti"] == str(TOKEN_ID)


def test_a_token_ends_after_fifteen_minutes_and_the_leeway(world):
    token = world.issue()

    world.now += LIFETIME_S + 59
    world.verify(token)
    world.now += 1

    assert world.refusal(token) == "expired"


def test_the_token_is_not_shown_by_the_value_that_holds_it(world):
    issued = world.tokens.issue(ANN, FAMILY)

    assert issued.token not in repr(issued)


WRONG = {
    "a refresh token by its kind": ({"typ": "rt+jwt"}, {}, "kind"),
    "a plain token": ({"typ": "JWT"}, {}, "kind"),
    "of another kind, in a word that begins alike": ({"typ": "at+jwt2"}, {}, "kind"),
    "of another issuer": ({}, {"iss": f"{OURS}/"}, "issuer"),
    "for another audience": ({}, {"aud": "mutx-guardrail"}, "audience"),
    "signed by a key of another name": ({"kid": "k2"}, {}, "key-unknown"),
    "of a role that is none": ({}, {"roles": ["ROOT"]}, "claims"),
    "of roles as a text": ({}, {"roles": "ADMIN"}, "claims"),
    "of no roles": ({}, {"roles": None}, "claims"),
    "of nobody's id": ({}, {"sub": "ann"}, "claims"),
    "of no tenant": ({}, {"tenant": None}, "claims"),
    "of many tenants": ({}, {"tenant": ["acme"]}, "claims"),
    "of no session": ({}, {"family": None}, "claims"),
    "without an end": ({}, {"exp": None}, "claims"),
}


@pytest.mark.parametrize(("header", "claims", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_token_that_our_own_key_signed_is_refused(world, header, claims, reason):
    assert world.refusal(world.forge(header, **claims)) == reason


def test_another_keys_token_is_refused_under_our_keys_name(world, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    other = World(folder)
    kid = world.keys.current().signer(world.now).kid

    assert world.refusal(other.forge({"kid": kid})) == "signature"


def test_a_new_key_signs_from_its_time_and_the_old_one_verifies_until_its_last_token_ends(world):
    make_key(world.folder, at(60))
    world.now += 10
    before = world.issue()
    assert len(world.keys.current().document(world.now)["keys"]) == 2  # published before it signs

    world.now = NOW + 61
    after = world.issue()

    assert parse_token(before).kid != parse_token(after).kid
    assert world.verify(before) == world.verify(after)
    world.now = NOW + 60 + LIFETIME_S + 120
    assert [key.kid for key in world.keys.current().verifying(world.now)] == [parse_token(after).kid]


def test_the_published_keys_hold_no_private_part(world):
    (key,) = world.keys.current().document(world.now)["keys"]

    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")


def test_a_key_that_appears_is_seen_after_some_seconds_and_a_broken_one_leaves_the_last_ring(world):
    first = world.keys.current()
    make_key(world.folder, at(-50))
    assert world.keys.current() is first

    world.now += 5
    second = world.keys.current()
    (world.folder / "20200101T000000Z.pem").write_text("no key")
    world.now += 5

    assert second is not first
    assert world.keys.current() is second


def test_a_key_file_is_read_by_its_owner_alone_and_written_once(tmp_path):
    path = make_key(tmp_path, at(0))

    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        make_key(tmp_path, at(0))
    assert list(tmp_path.iterdir()) == [path]


def pem(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


BAD_FILES = {
    "nothing": ("20260101T000000Z.pem", b"", "no private key"),
    "a key of RSA": ("20260101T000000Z.pem", pem(rsa.generate_private_key(65537, 2048)), "no key on P-256"),
    "a key on another curve": (
        "20260101T000000Z.pem", pem(ec.generate_private_key(ec.SECP384R1())), "no key on P-256",
    ),
    "a name without a time": ("key.pem", pem(ec.generate_private_key(ec.SECP256R1())), "not named as"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_is_no_signing_key_is_refused_by_its_name(tmp_path, name, content, message):
    (tmp_path / name).touch(0o600)
    (tmp_path / name).write_bytes(content)

    with pytest.raises(SigningKeyError, match=message) as refused:
        read_keys(tmp_path)

    assert name in str(refused.value)


def test_a_key_that_everybody_can_read_is_refused(tmp_path):
    make_key(tmp_path, at(0)).chmod(0o644)

    with pytest.raises(SigningKeyError, match="everybody"):
        read_keys(tmp_path)


def test_a_ring_without_keys_is_none():
    with pytest.raises(SigningKeyError, match="no signing key"):
        KeyRing([])


def test_before_any_keys_time_the_first_one_signs(tmp_path):
    make_key(tmp_path, at(100))
    make_key(tmp_path, at(200))
    ring = KeyRing(read_keys(tmp_path))

    assert ring.signer(NOW).begins == NOW + 100


def test_a_ring_signs_for_our_audience_only(world):
    assert parse_token(world.issue()).claims["aud"] == AUDIENCE
