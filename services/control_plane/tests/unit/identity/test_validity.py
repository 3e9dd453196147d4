"""What a token says of its issuer, audience, time and kind, at the edges."""

from __future__ import annotations

import pytest
from mutx_control_plane.identity.jose import TokenRefused, parse_token
from mutx_control_plane.identity.validity import (
    Expected,
    check_provider_access_token,
    check_validity,
)
from token_mint import AUDIENCE, ISSUER, NOW, good_claims, mint

EXPECTED = Expected(ISSUER, AUDIENCE, party=AUDIENCE)
AUTH0 = "https://mutx.eu.auth0.com/"
OKTA = "https://mutx.okta.com/oauth2/default"


def refusal(expected: Expected = EXPECTED, **changed) -> str:
    with pytest.raises(TokenRefused) as refused:
        check_validity(good_claims(**changed), expected, NOW)
    return refused.value.reason


TAKEN = {
    "a plain one": {},
    "one of a minute ago": {"exp": NOW - 59},
    "one that begins within a minute": {"nbf": NOW + 60},
    "one issued a minute ahead": {"iat": NOW + 60},
    "one without a beginning": {"nbf": None, "iat": None},
    "one for a list of one": {"aud": [AUDIENCE]},
    "one for many, ours the party": {"aud": ["account", AUDIENCE], "azp": AUDIENCE},
    "one for us, ours the party": {"azp": AUDIENCE},
    "one of Auth0's subjects": {"sub": "auth0|5f7c8ec7c33c6c004bbafe82"},
    "one of a subject of 255 characters": {"sub": "s" * 255},
}


@pytest.mark.parametrize("changed", TAKEN.values(), ids=TAKEN.keys())
def test_a_token_is_taken_that_is(changed):
    check_validity(good_claims(**changed), EXPECTED, NOW)


REFUSED = {
    "of no issuer": ({"iss": None}, "issuer"),
    "of an issuer with one slash more": ({"iss": f"{ISSUER}/"}, "issuer"),
    "of an issuer in capitals": ({"iss": ISSUER.upper()}, "issuer"),
    "of an issuer with a space": ({"iss": f"{ISSUER} "}, "issuer"),
    "of an issuer that begins like ours": ({"iss": f"{ISSUER}.evil.example"}, "issuer"),
    "of a list of issuers": ({"iss": [ISSUER]}, "issuer"),
    "of plain http": ({"iss": ISSUER.replace("https", "http")}, "issuer"),
    "for nobody": ({"aud": None}, "audience"),
    "for an empty list": ({"aud": []}, "audience"),
    "for another": ({"aud": "client-2"}, "audience"),
    "for one whose name begins like ours": ({"aud": f"{AUDIENCE}0"}, "audience"),
    "for a text that holds ours": ({"aud": f"a {AUDIENCE}"}, "audience"),
    "for a number": ({"aud": 1}, "audience"),
    "for an object": ({"aud": {AUDIENCE: True}}, "audience"),
    "for ours and something that is no text": ({"aud": [AUDIENCE, 1]}, "audience"),
    "for a list within": ({"aud": [[AUDIENCE]]}, "audience"),
    "for many, and no party": ({"aud": [AUDIENCE, "other"]}, "audience"),
    "for many, another the party": ({"aud": [AUDIENCE, "other"], "azp": "other"}, "audience"),
    "for us, another the party": ({"azp": "other"}, "audience"),
    "for many, the party a list": ({"aud": [AUDIENCE, "o"], "azp": [AUDIENCE]}, "audience"),
    "without an end": ({"exp": None}, "claims"),
    "over for a minute": ({"exp": NOW - 60}, "expired"),
    "over for long": ({"exp": 0}, "expired"),
    "ended by a text": ({"exp": str(NOW + 300)}, "claims"),
    "ended by a boolean": ({"exp": True}, "claims"),
    "ended by a fraction": ({"exp": NOW + 300.5}, "claims"),
    "ended by a list": ({"exp": [NOW + 300]}, "claims"),
    "ended before 1970": ({"exp": -1}, "claims"),
    "never ended": ({"exp": 10**30}, "claims"),
    "in milliseconds": ({"exp": (NOW + 300) * 1000}, "claims"),
    "of the future": ({"nbf": NOW + 61}, "not-yet"),
    "issued in the future": ({"iat": NOW + 61}, "not-yet"),
    "begun by a text": ({"nbf": str(NOW)}, "claims"),
    "begun by a boolean": ({"nbf": False}, "claims"),
    "issued by a text": ({"iat": "now"}, "claims"),
    "of nobody": ({"sub": None}, "claims"),
    "of an empty subject": ({"sub": ""}, "claims"),
    "of a number": ({"sub": 7}, "claims"),
    "of an endless subject": ({"sub": "s" * 256}, "claims"),
    "of a subject with a NUL": ({"sub": "user-1\0"}, "claims"),
    "of a subject with a line's end": ({"sub": "user-1\nadmin"}, "claims"),
}


@pytest.mark.parametrize(("changed", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_token_is_refused_that_is(changed, reason):
    assert refusal(**changed) == reason


@pytest.mark.parametrize("member", ["exp", "nbf", "iat"])
def test_a_time_that_is_null_is_no_time_that_is_missing(member):
    claims = {**good_claims(), member: None}

    with pytest.raises(TokenRefused, match="claims"):
        check_validity(claims, EXPECTED, NOW)


@pytest.mark.parametrize("issuer", [AUTH0, OKTA])
def test_an_issuer_is_compared_with_its_slash_or_without(issuer):
    other = issuer.removesuffix("/") if issuer.endswith("/") else f"{issuer}/"
    expected = Expected(issuer, AUDIENCE)

    check_validity(good_claims(iss=issuer), expected, NOW)
    assert refusal(expected, iss=other) == "issuer"


def test_where_no_party_is_named_any_may_have_asked_for_the_token():
    claims = good_claims(aud=["api", "https://mutx.eu.auth0.com/userinfo"], azp="spa")

    check_validity(claims, Expected(ISSUER, "api"), NOW)


def kind(*, is_ours_alone: bool, typ: str | None = None, **changed) -> str:
    header = {"alg": "RS256", "kid": "k1"} | ({} if typ is None else {"typ": typ})
    token = parse_token(mint(header=header, **changed))
    try:
        check_provider_access_token(token, is_audience_ours_alone=is_ours_alone)
    except TokenRefused as refused:
        return refused.reason
    return "taken"


ACCESS_TOKENS = {
    "Okta": {"scope": None, "scp": ["openid"], "cid": AUDIENCE, "uid": "00u1", "ver": 1},
    "Auth0": {"typ": "JWT", "scope": "openid profile", "azp": AUDIENCE, "gty": "password"},
    "Auth0 by RFC 9068": {"typ": "at+jwt", "scope": None, "client_id": AUDIENCE},
    "RFC 9068 in full": {"typ": "application/at+jwt", "scope": None},
}


@pytest.mark.parametrize("is_ours_alone", [True, False])
@pytest.mark.parametrize("changed", ACCESS_TOKENS.values(), ids=ACCESS_TOKENS.keys())
def test_an_access_token_is_taken_of(changed, is_ours_alone):
    assert kind(is_ours_alone=is_ours_alone, **changed) == "taken"


def typed(value: object, **more) -> str:
    """Keycloak has a claim `typ` beside the header's."""
    token = parse_token(
        mint(good_claims(typ=value, **more), header={"alg": "RS256", "kid": "k1", "typ": "JWT"})
    )
    try:
        check_provider_access_token(token, is_audience_ours_alone=True)
    except TokenRefused as refused:
        return refused.reason
    return "taken"


@pytest.mark.parametrize(
    ("value", "outcome"),
    [("Bearer", "taken"), ("ID", "kind"), ("Refresh", "kind"), ("Offline", "kind"), ("Logout", "kind"),
     ("bearer", "kind"), (None, "taken"), (["Bearer"], "kind"), (1, "kind")],
)  # fmt: skip
def test_keycloaks_own_kinds_are_told_apart(value, outcome):
    assert typed(value) == outcome


OTHER_KINDS = {
    "an ID token, by its nonce": {"nonce": "n"},
    "an ID token, by its access token's hash": {"at_hash": "h"},
    "an ID token, by its code's hash": {"c_hash": "h"},
    "a token of another kind, by its header": {"typ": "logout+jwt"},
    "a proof of possession": {"typ": "dpop+jwt"},
    "a refresh token": {"typ": "rt+jwt"},
    "a security event": {"typ": "secevent+jwt"},
}


@pytest.mark.parametrize("is_ours_alone", [True, False])
@pytest.mark.parametrize("changed", OTHER_KINDS.values(), ids=OTHER_KINDS.keys())
def test_no_access_token_is(changed, is_ours_alone):
    assert kind(is_ours_alone=is_ours_alone, **changed) == "kind"


def test_an_id_token_without_marks_is_no_access_token_where_the_client_is_the_audience():
    assert kind(is_ours_alone=False, scope=None) == "kind"
    assert kind(is_ours_alone=True, scope=None) == "taken"
