"""Who calls, by what they show; and what a refused caller, a log and an error tell of it: nothing."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_fakes import ANN, Clock, MemoryAccounts, MemoryApiKeys
from mutx_control_plane.identity.access_tokens import AccessTokens
from mutx_control_plane.identity.api_keys import ApiKeyDesk, Wish
from mutx_control_plane.identity.bearer import Bearer, bearer_text
from mutx_control_plane.identity.claims import Rule
from mutx_control_plane.identity.provider import Provider, ProviderSettings
from mutx_control_plane.identity.sealing import AesSealer
from mutx_control_plane.identity.secret_keys import read_secret_keys
from mutx_control_plane.identity.signing import KeyFolder, make_key
from mutx_control_plane.principal import Method, Principal
from mutx_control_plane.problems import KINDS
from mutx_control_plane.roles import Role, Scope
from mutx_service.journal import set_up_logging
from mutx_service.problem import Problem
from provider_fake import CLIENT, FakeProvider, Reply
from token_mint import ISSUER, NOW, b64, good_claims, mint

SECRETS = f"a:{base64.b64encode(bytes(range(32))).decode()}"
OURS = "https://api.mutx.example"
FAMILY = ANN.id


class World:
    """Our own tokens, one provider's, and API keys."""

    def __init__(self, folder) -> None:
        make_key(folder, datetime.fromtimestamp(NOW - 100, UTC))
        self.clock, self.accounts, self.reasons = Clock(), MemoryAccounts(), []
        self.accounts.put(ANN)
        sources, keys = self.clock.sources(), read_secret_keys(SECRETS)
        self.tokens = AccessTokens(KeyFolder(folder, sources.clock).current, OURS, sources)
        self.fake = FakeProvider()
        rules = (Rule("groups", "devs", "acme", Role.DEVELOPER),)
        provider = Provider(ProviderSettings(ISSUER, CLIENT, rules), self.fake.http(), sources)
        store = MemoryApiKeys(self.accounts)
        self.desk = ApiKeyDesk(store, keys, AesSealer(keys, sources.random_bytes), sources)
        self.bearer = Bearer(self.tokens, [provider], self.desk, self.accounts, sources, self.reasons.append)

    def principal(self, text: str) -> Principal:
        return asyncio.run(self.bearer.principal_of(text))

    def refusal(self, text: str) -> Problem:
        with pytest.raises(Problem) as refused:
            self.principal(text)
        return refused.value

    def our_token(self) -> str:
        return self.tokens.issue(ANN, FAMILY).token

    def their_token(self, **changed: object) -> str:
        return mint(good_claims(**{"groups": ["devs"], **changed}))

    def api_key(self) -> str:
        caller = Principal(ANN.id, ANN.tenant, ANN.roles, Method.ACCESS_TOKEN)
        wish = Wish("ci", frozenset({Scope.WRITE}), timedelta(days=1))
        return asyncio.run(self.desk.make(caller, wish))[1]


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


@pytest.fixture
def good_texts(world) -> list[str]:
    return [world.our_token(), world.their_token(), world.api_key()]


def test_our_own_token_is_taken(world):
    caller = world.principal(world.our_token())

    assert (caller.user, caller.method, caller.family) == (ANN.id, Method.ACCESS_TOKEN, FAMILY)
    assert not world.fake.calls


def test_a_providers_token_is_taken_and_the_person_gets_one_account(world):
    first = world.principal(world.their_token())
    second = world.principal(world.their_token())

    assert (first.method, first.tenant, first.roles) == (Method.SSO_TOKEN, "acme", {Role.DEVELOPER})
    assert first == second


def test_an_api_key_is_taken(world):
    caller = world.principal(world.api_key())

    assert (caller.user, caller.method, caller.scopes) == (ANN.id, Method.API_KEY, {Scope.WRITE})


def test_a_person_of_a_provider_whose_account_is_inactive_is_refused(world):
    account = world.principal(world.their_token()).user
    world.accounts.put(replace(world.accounts.by_id[account], is_active=False))

    assert world.refusal(world.their_token()).code == "credentials-refused"


def test_a_provider_cannot_sign_our_tokens_nor_we_theirs(world):
    claims = good_claims(
        iss=OURS, aud="mutx-control-plane", tenant="acme", roles=["ADMIN"], family=str(FAMILY)
    )
    ours_by_them = mint(claims, algorithm="ES256", header={"alg": "ES256", "kid": "k1", "typ": "at+jwt"})
    theirs_by_us = world.our_token().rpartition(".")[2]

    assert world.refusal(ours_by_them).code == "credentials-refused"
    assert (
        world.refusal(f"{world.their_token().rpartition('.')[0]}.{theirs_by_us}").code
        == "credentials-refused"
    )
    assert world.reasons == ["key-unknown", "signature"]


def refused_texts(world: World) -> dict[str, str]:
    good, key = world.our_token(), world.api_key()
    head, body, _ = good.split(".")
    return {
        "nothing": "",
        "a word": "x",
        "two dots": "..",
        "a token without a signature": f"{head}.{body}.",
        "a token of no algorithm": f"{b64({'alg': 'none'})}.{body}.",
        "a token with one letter changed": good[:-9] + ("A" if good[-9] != "A" else "B") + good[-8:],
        "an expired token": world.their_token(exp=NOW - 100),
        "a token of nobody's issuer": world.their_token(iss="https://evil.example"),
        "a token of an issuer that is a list": world.their_token(iss=[ISSUER]),
        "a token of a stranger": world.their_token(groups=["admin"]),
        "an ID token": world.their_token(nonce="n"),
        "a token for another client": world.their_token(aud="other"),
        "a refresh token": f"mutxr_{'A' * 43}",
        "a key with one letter changed": key[:-9] + ("A" if key[-9] != "A" else "B") + key[-8:],
        "a key's prefix": key[:16],
        "a key in capitals": key.upper(),
    }


def test_each_failure_is_told_in_the_same_words(world):
    told = {}
    for name, text in refused_texts(world).items():
        told[name] = world.refusal(text).document(KINDS)

    assert len(told) == len(world.reasons)
    assert {json.dumps(each) for each in told.values()} == {
        json.dumps(
            {
                "type": "urn:mutx:problem:credentials-refused",
                "title": KINDS["credentials-refused"].title,
                "status": 401,
                "code": "credentials-refused",
            }
        )
    }


def test_nothing_of_what_was_shown_reaches_a_log_an_error_or_a_reason(world):
    log = io.StringIO()
    root, kept = logging.getLogger(), logging.getLogger().handlers[:]
    set_up_logging(log)
    try:
        told = []
        for text in [*refused_texts(world).values(), world.their_token(sub="canary" * 60)]:
            with pytest.raises(Problem) as refused:
                world.principal(text)
            told.append((text, "".join(traceback.format_exception(refused.value))))
    finally:
        root.handlers[:] = kept

    for text, shown in told:
        pieces = [piece for piece in text.split(".") if len(piece) > 12]
        said = log.getvalue() + " ".join(world.reasons) + shown
        assert not any(piece[-12:] in said for piece in pieces)
    assert set(world.reasons) <= {
        "form", "algorithm", "header", "signature", "key-unknown", "issuer", "audience", "expired", "claims", "kind",
        "unmapped",
    }  # fmt: skip


def test_a_token_that_cannot_be_checked_now_is_told_apart_from_a_bad_one(world):
    world.fake.replies["/keys"] = Reply(500, {})

    refused = world.refusal(world.their_token())

    assert refused.code == "provider-unavailable"
    assert KINDS[refused.code].status == 503


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_was_changed_in_one_place_is_never_taken(world, good_texts, data):
    text = data.draw(st.sampled_from(good_texts))
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("abcXYZ0189-_.").filter(lambda each: each != text[at]))

    assert world.refusal(text[:at] + letter + text[at + 1 :]).code == "credentials-refused"


TAKEN_HEADERS = {
    "as written": ("Bearer abc.def.ghi", "abc.def.ghi"),
    "a scheme in small letters": ("bearer mutx_a_b", "mutx_a_b"),
    "a scheme in capitals": ("BEARER x", "x"),
    "padding": ("Bearer abc==", "abc=="),
}


@pytest.mark.parametrize(("header", "text"), TAKEN_HEADERS.values(), ids=TAKEN_HEADERS.keys())
def test_the_text_of_a_header_is_found_with(header, text):
    assert bearer_text([header]) == text


REFUSED_HEADERS = {
    "none": ([], "credentials-missing"),
    "two": (["Bearer a", "Bearer a"], "credentials-refused"),
    "an empty one": ([""], "credentials-refused"),
    "a scheme alone": (["Bearer"], "credentials-refused"),
    "no text": (["Bearer "], "credentials-refused"),
    "two spaces": (["Bearer  a"], "credentials-refused"),
    "a tab": (["Bearer\ta"], "credentials-refused"),
    "two texts": (["Bearer a b"], "credentials-refused"),
    "two joined by a comma": (["Bearer a, Bearer b"], "credentials-refused"),
    "a space after": (["Bearer a "], "credentials-refused"),
    "a line's end after": (["Bearer a\n"], "credentials-refused"),
    "another scheme": (["Basic YTpi"], "credentials-refused"),
    "a scheme that begins alike": (["Bearerx a"], "credentials-refused"),
    "another script": (["Bearer \u0430"], "credentials-refused"),
}


@pytest.mark.parametrize(("headers", "code"), REFUSED_HEADERS.values(), ids=REFUSED_HEADERS.keys())
def test_a_header_is_refused_of(headers, code):
    with pytest.raises(Problem) as refused:
        bearer_text(headers)

    assert refused.value.code == code
