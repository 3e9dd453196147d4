"""Signing in at a provider: the right way works, and each step of it that is bent does not."""

from __future__ import annotations

import asyncio
import base64
import os
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_fakes import Clock
from mutx_control_plane.identity.claims import Rule
from mutx_control_plane.identity.oidc import LASTS_S, Begun, CodeFlow, cookie_name, local_path
from mutx_control_plane.identity.provider import Provider, ProviderSettings
from mutx_control_plane.identity.secret_keys import read_secret_keys
from mutx_control_plane.principal import SSOTokenUser
from mutx_control_plane.roles import Role
from mutx_service.problem import Problem
from provider_fake import CLIENT, CONFIGURATION, SECRET, FakeProvider, Reply
from pydantic import SecretStr
from token_mint import ISSUER, NOW

SECRETS = f"a:{base64.b64encode(bytes(range(32))).decode()}"
BACK = "https://api.mutx.example/v1/auth/callback"
RULES = (
    Rule("groups", "devs", "acme", Role.DEVELOPER),
    Rule("realm_access.roles", "chief", "acme", Role.ADMIN),
)
ANN = SSOTokenUser(ISSUER, "user-1", "acme", frozenset({Role.DEVELOPER}), "")


class World:
    """A browser between us and a provider."""

    def __init__(self, issuer: str = ISSUER, **settings: object) -> None:
        self.clock, self.fake, self.reasons = Clock(), FakeProvider(issuer), []
        self.fake.id_claims = {"groups": ["devs"]}
        self.settings = ProviderSettings(issuer, CLIENT, RULES, **settings)
        self.flow = self.open()

    def open(self, secrets: str = SECRETS, back: str = BACK) -> CodeFlow:
        provider = Provider(self.settings, self.fake.http(), self.clock.sources())
        keys = read_secret_keys(secrets)
        return CodeFlow(provider, keys, back, self.clock.sources(), self.reasons.append)

    def begin(self, return_to: str = "/") -> Begun:
        return asyncio.run(self.flow.begin(return_to))

    def finish(self, query, cookies):
        return asyncio.run(self.flow.finish(query, cookies))

    def sign_in(self, **changed: str) -> SSOTokenUser:
        begun = self.begin()
        return self.finish(self.fake.authorise(begun.url, **changed), {begun.cookie_name: begun.cookie})[0]

    def refusal(self, **changed: str) -> str:
        with pytest.raises(Problem) as refused:
            self.sign_in(**changed)
        assert refused.value.code == "sign-in-failed"
        assert refused.value.detail == ""
        return self.reasons[-1]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER,
        "https://mutx.eu.auth0.com/",
        "https://mutx.okta.com/oauth2/default",
        "https://kc.example/realms/mutx",
    ],
)
def test_a_person_signs_in(issuer):
    world = World(issuer)

    user = world.sign_in()

    assert (user.issuer, user.subject, user.tenant, user.roles) == (
        issuer,
        "user-1",
        "acme",
        {Role.DEVELOPER},
    )


def test_the_browser_is_sent_with_everything_that_the_way_back_is_held_against(world):
    first, second = world.begin(), world.begin()

    queries = [dict(parse_qsl(urlsplit(each.url).query)) for each in (first, second)]
    assert urlsplit(first.url)._replace(query="").geturl() == f"{ISSUER}/authorize"
    assert queries[0]["redirect_uri"] == BACK
    assert queries[0]["client_id"] == CLIENT
    assert queries[0]["code_challenge_method"] == "S256"
    for name in ("state", "nonce", "code_challenge"):
        assert len(queries[0][name]) == 43
        assert queries[0][name] != queries[1][name]


def test_the_cookie_is_bound_to_our_host_and_shows_nothing(world):
    begun = world.begin()
    query = dict(parse_qsl(urlsplit(begun.url).query))

    assert begun.cookie_name.startswith("__Host-")
    assert query["state"] not in begun.cookie + begun.cookie_name
    assert query["nonce"] not in begun.cookie


def test_the_browser_returns_to_where_it_was(world):
    begun = world.begin("/agents?page=2")

    _, path = world.finish(world.fake.authorise(begun.url), {begun.cookie_name: begun.cookie})

    assert path == "/agents?page=2"


def test_two_tabs_sign_in_beside_each_other(world):
    one, other = world.begin("/one"), world.begin("/other")
    cookies = {one.cookie_name: one.cookie, other.cookie_name: other.cookie}

    assert world.finish(world.fake.authorise(one.url), cookies)[1] == "/one"
    assert world.finish(world.fake.authorise(other.url), cookies)[1] == "/other"


@pytest.mark.parametrize("in_form", [False, True], ids=["in the header", "in the form"])
def test_a_clients_secret_is_shown(in_form):
    world = World(client_secret=SecretStr(SECRET))
    world.fake.secret = SECRET
    if in_form:
        world.fake.discovery = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}

    assert world.sign_in().subject == "user-1"


def test_a_wrong_secret_signs_nobody_in():
    world = World(client_secret=SecretStr("guess"))
    world.fake.secret = SECRET

    assert world.refusal() == "code"


class Way:
    """A browser on its way back, and another sign-in that has begun beside it."""

    def __init__(self, world: World) -> None:
        begun, other = world.begin(), world.begin()
        self.name, self.cookie, self.others_cookie = begun.cookie_name, begun.cookie, other.cookie
        self.good = dict(world.fake.authorise(begun.url))
        self.other = dict(world.fake.authorise(other.url))

    def query(self, **changed: str | None) -> list[tuple[str, str]]:
        return [(name, value) for name, value in {**self.good, **changed}.items() if value is not None]

    def twice(self, name: str, value: str) -> list[tuple[str, str]]:
        return [*self.query(), (name, value)]


COOKIES = {
    "no cookie, on a link from an attacker": lambda way: {},
    "the cookie of another sign-in": lambda way: {way.name: way.others_cookie},
    "a cookie with its end changed": lambda way: {way.name: way.cookie[:-2] + "AA"},
    "an empty cookie": lambda way: {way.name: ""},
    "a cookie of its own making": lambda way: {way.name: "g1.a." + "A" * 400},
    "its cookie under another name": lambda way: {way.name + "0": way.cookie},
}


@pytest.mark.parametrize("cookies", COOKIES.values(), ids=COOKIES.keys())
def test_nobody_signs_in_with(world, cookies):
    way = Way(world)

    with pytest.raises(Problem, match="sign-in-failed"):
        world.finish(way.query(), cookies(way))

    assert world.reasons == ["cookie"]
    assert "/token" not in world.fake.calls


QUERIES = {
    "no state": (lambda way: way.query(state=None), "state"),
    "an empty state": (lambda way: way.query(state=""), "state"),
    "another sign-in's state": (lambda way: way.query(state=way.other["state"]), "cookie"),
    "a state of another script": (lambda way: way.query(state="\u0430" * 43), "state"),
    "half a character as its state": (lambda way: way.query(state="\ud800" * 43), "state"),
    "a made-up state": (lambda way: way.query(state="m" * 43), "cookie"),
    "a state twice": (lambda way: way.twice("state", way.good["state"]), "query"),
    "a code twice": (lambda way: way.twice("code", "other"), "query"),
    "no code": (lambda way: way.query(code=None), "code"),
    "an endless code": (lambda way: way.query(code="c" * 5000), "code"),
    "a code with a line's end": (lambda way: way.query(code="c\r\nx"), "code"),
    "another sign-in's code": (lambda way: way.query(code=way.other["code"]), "code"),
    "a made-up code": (lambda way: way.query(code="made-up"), "code"),
    "an error beside a code": (lambda way: way.query(error="access_denied"), "code"),
    "an error": (lambda way: way.query(code=None, error="access_denied"), "code"),
    "another issuer": (lambda way: way.query(iss="https://evil.example"), "issuer"),
    "the issuer with a slash": (lambda way: way.query(iss=f"{ISSUER}/"), "issuer"),
    "no issuer, though the provider names itself": (lambda way: way.query(iss=None), "issuer"),
    "nothing": (lambda way: [], "state"),
}


@pytest.mark.parametrize(("query", "reason"), QUERIES.values(), ids=QUERIES.keys())
def test_nobody_signs_in_by_an_address_with(world, query, reason):
    way = Way(world)

    with pytest.raises(Problem) as refused:
        world.finish(query(way), {way.name: way.cookie})

    assert (refused.value.code, refused.value.detail) == ("sign-in-failed", "")
    assert world.reasons == [reason]


def test_a_cookie_under_the_name_that_another_state_gives_it_is_none(world):
    way = Way(world)

    with pytest.raises(Problem, match="sign-in-failed"):
        world.finish(way.query(state="m" * 43), {cookie_name("m" * 43): way.cookie})

    assert world.reasons == ["cookie"]


def test_a_provider_that_does_not_name_itself_need_not(world):
    world.fake.discovery = {"authorization_response_iss_parameter_supported": None}
    way = Way(world)

    assert world.finish(way.query(iss=None), {way.name: way.cookie})[0] == ANN


def test_a_code_serves_once(world):
    begun = world.begin()
    back, cookies = world.fake.authorise(begun.url), {begun.cookie_name: begun.cookie}
    world.finish(back, cookies)

    with pytest.raises(Problem, match="sign-in-failed"):
        world.finish(back, cookies)


def test_a_sign_in_is_over_after_ten_minutes(world):
    begun = world.begin()
    world.clock.time += LASTS_S

    with pytest.raises(Problem, match="sign-in-failed"):
        world.finish(world.fake.authorise(begun.url), {begun.cookie_name: begun.cookie})

    assert world.reasons == ["cookie"]


def test_a_cookie_of_another_server_is_none(world):
    begun = world.begin()
    other = base64.b64encode(os.urandom(32)).decode()
    world.flow = world.open(f"a:{other}")

    with pytest.raises(Problem, match="sign-in-failed"):
        world.finish(world.fake.authorise(begun.url), {begun.cookie_name: begun.cookie})


def test_a_cookie_of_another_provider_is_none(world):
    begun = world.begin()
    elsewhere = World("https://evil.example")

    with pytest.raises(Problem, match="sign-in-failed"):
        elsewhere.finish(elsewhere.fake.authorise(begun.url), {begun.cookie_name: begun.cookie})


def test_a_code_for_another_redirect_address_is_not_exchanged(world):
    begun = world.begin()
    world.flow = world.open(back=f"{BACK}/")

    with pytest.raises(Problem, match="sign-in-failed"):
        world.finish(world.fake.authorise(begun.url), {begun.cookie_name: begun.cookie})


ID_TOKENS = {
    "another nonce": ({"nonce": "other"}, {}, "nonce"),
    "no nonce": ({"nonce": None}, {}, "nonce"),
    "a nonce that is a list": ({"nonce": ["n"]}, {}, "nonce"),
    "another issuer": ({"iss": "https://evil.example"}, {}, "issuer"),
    "another audience": ({"aud": "other"}, {}, "audience"),
    "two audiences and no party": ({"aud": [CLIENT, "other"]}, {}, "audience"),
    "another party": ({"azp": "other"}, {}, "audience"),
    "another access token's hash": ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, {}, "at-hash"),
    "a hash that is a list": ({"at_hash": []}, {}, "at-hash"),
    "an end that was": ({"exp": NOW - 60}, {}, "expired"),
    "no end": ({"exp": None}, {}, "claims"),
    "no beginning": ({"iat": None}, {}, "kind"),
    "a beginning to come": ({"iat": NOW + 61}, {}, "not-yet"),
    "no subject": ({"sub": None}, {}, "claims"),
    "Keycloak's kind of an access token": ({"typ": "Bearer"}, {}, "kind"),
    "Keycloak's kind of a refresh token": ({"typ": "Refresh"}, {}, "kind"),
    "the kind of an access token": ({}, {"typ": "at+jwt"}, "kind"),
    "the kind of a logout token": ({}, {"typ": "logout+jwt"}, "kind"),
    "a key that it brings": ({}, {"jwk": {"kty": "RSA"}}, "header"),
    "a key that nobody knows": ({}, {"kid": "other"}, "key-unknown"),
    "no group that is mapped": ({"groups": ["admin"]}, {}, "unmapped"),
}


@pytest.mark.parametrize(("claims", "header", "reason"), ID_TOKENS.values(), ids=ID_TOKENS.keys())
def test_an_id_token_is_refused_with(world, claims, header, reason):
    world.fake.id_claims |= claims
    world.fake.id_header = header

    assert world.refusal() == reason


def test_an_id_token_by_a_key_that_is_not_published_is_refused(world):
    world.fake.replies["/keys"] = Reply(body=FakeProvider().handle("/keys", {}, {}).body)
    world.fake.which = 1

    assert world.refusal() == "signature"


ANSWERS = {
    "no ID token": {"id_token": None},
    "an ID token that is a list": {"id_token": ["x"]},
    "an ID token that is none": {"id_token": "x"},
    "no access token": {"access_token": None},
    "another access token than the ID token's hash is of": {"access_token": "stolen"},
}


@pytest.mark.parametrize("changed", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_exchange_is_refused_that_gives(world, changed):
    world.fake.answer = changed

    assert world.refusal() in {"answer", "form", "at-hash"}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500, {}),
        Reply(302, {}, {"location": "https://evil.example"}),
        Reply(200, b"<html>"),
        Reply(503, b""),
    ],
    ids=["an error", "a redirect", "HTML", "no JSON"],
)
@pytest.mark.parametrize("path", ["/token", "/keys"])
def test_a_provider_that_fails_is_told_apart(world, path, reply):
    world.fake.replies[path] = reply

    with pytest.raises(Problem) as refused:
        world.sign_in()

    assert refused.value.code == "provider-unavailable"


def test_without_its_discovery_nobody_is_sent_to_the_provider(world):
    world.fake.replies[CONFIGURATION] = Reply(500, {})

    with pytest.raises(Problem, match="provider-unavailable"):
        world.begin()


def test_nothing_of_what_the_provider_says_of_an_error_is_told(world):
    assert world.refusal(code="other") == "code"

    assert "canary" not in " ".join(world.reasons)


def test_an_id_token_without_the_hash_is_taken_as_the_standard_allows(world):
    world.fake.id_claims |= {"at_hash": None}

    assert world.sign_in() == ANN


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_the_access_tokens_hash_is_of_the_signatures_algorithm(world, algorithm):
    world.fake.algorithm = algorithm

    assert world.sign_in() == ANN


def test_keycloaks_roles_come_of_its_access_token(world):
    world.fake.access_claims = {"realm_access": {"roles": ["chief"]}}

    assert world.sign_in().roles == {Role.DEVELOPER, Role.ADMIN}


ACCESS_TOKENS = {
    "of another client": {"azp": "other"},
    "of no client": {"azp": None},
    "of a client that is a list": {"azp": [CLIENT]},
    "about another person": {"sub": "user-2"},
    "of another issuer": {"iss": "https://evil.example"},
    "that is over": {"exp": NOW - 60},
}


@pytest.mark.parametrize("changed", ACCESS_TOKENS.values(), ids=ACCESS_TOKENS.keys())
def test_no_roles_come_of_an_access_token(world, changed):
    world.fake.access_claims = {"realm_access": {"roles": ["chief"]}, **changed}

    assert world.sign_in().roles == {Role.DEVELOPER}


def test_userinfo_gives_an_address_and_never_roles(world):
    world.fake.userinfo = {
        "sub": "user-1",
        "email": "Ann@acme.example",
        "email_verified": True,
        "groups": ["devs"],
        "realm_access": {"roles": ["chief"]},
        "roles": ["chief"],
    }

    user = world.sign_in()

    assert (user.email, user.roles) == ("ann@acme.example", {Role.DEVELOPER})


def test_userinfo_grants_nothing_to_whom_the_tokens_grant_nothing(world):
    world.fake.id_claims = {}
    world.fake.userinfo = {"sub": "user-1", "groups": ["devs"], "realm_access": {"roles": ["chief"]}}

    assert world.refusal() == "unmapped"
    assert "/userinfo" not in world.fake.calls


@pytest.mark.parametrize("subject", ["user-2", None, ["user-1"], "USER-1"], ids=repr)
def test_userinfo_about_another_person_ends_the_sign_in(world, subject):
    world.fake.userinfo = {"sub": subject, "email": "eve@evil.example", "email_verified": True}

    assert world.refusal() == "userinfo"


@pytest.mark.parametrize("reply", [Reply(401, {}), Reply(500, b"x"), Reply(200, b"a.jwt.perhaps")], ids=repr)
def test_a_sign_in_does_without_userinfo(world, reply):
    world.fake.replies["/userinfo"] = reply

    assert world.sign_in() == ANN


def test_userinfo_is_not_asked_where_the_id_token_has_the_address(world):
    world.fake.id_claims |= {"email": "ann@acme.example", "email_verified": True}

    assert world.sign_in().email == "ann@acme.example"
    assert "/userinfo" not in world.fake.calls


def test_an_address_that_nobody_verified_is_none(world):
    world.fake.userinfo = {"sub": "user-1", "email": "chief@acme.example"}

    assert world.sign_in().email == ""


def test_a_provider_without_a_userinfo_endpoint_is_not_asked(world):
    world.fake.discovery = {"userinfo_endpoint": None}

    assert world.sign_in() == ANN
    assert "/userinfo" not in world.fake.calls


PATHS = {
    "a path": ("/agents?x=1&y=%2f", "/agents?x=1&y=%2f"),
    "nothing": ("", "/"),
    "another site": ("https://evil.example/", "/"),
    "another site by two slashes": ("//evil.example", "/"),
    "another site by a backslash": ("/\\evil.example", "/"),
    "another site behind a tab": ("/\t/evil.example", "/"),
    "another site behind a line's end": ("/\n/evil.example", "/"),
    "a script": ("javascript:alert(1)", "/"),
    "a header": ("/\r\nset-cookie: a=b", "/"),
    "another script": ("/\u2215evil", "/"),
    "a space": ("/ /evil.example", "/"),
    "no slash": ("agents", "/"),
    "an endless path": ("/" + "a" * 1024, "/"),
}


@pytest.mark.parametrize(("text", "path"), PATHS.values(), ids=PATHS.keys())
def test_the_way_back_is_a_path_of_ours(text, path):
    assert local_path(text) == path


@given(st.text(max_size=40))
def test_no_text_leads_elsewhere(text):
    path = local_path(text)

    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
    assert path.isprintable()
