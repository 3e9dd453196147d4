"""Calls to a provider, its discovery document, and its access tokens."""

from __future__ import annotations

import asyncio
import gzip

import httpx2
import pytest
from identity_fakes import Clock
from mutx_control_plane.identity.claims import Rule
from mutx_control_plane.identity.discovery import read_discovery
from mutx_control_plane.identity.jose import TokenRefused, parse_token
from mutx_control_plane.identity.provider import GOOGLE, Provider, ProviderSettings
from mutx_control_plane.identity.provider_http import (
    LARGEST,
    ProviderFailed,
    ProviderHttp,
    Reach,
    is_plain_url,
    require_ok,
)
from mutx_control_plane.roles import Role
from provider_fake import CLIENT, CONFIGURATION, FakeProvider, Reply
from token_mint import ISSUER, good_claims, mint

RULES = (Rule("groups", "devs", "acme", Role.DEVELOPER),)
AUTH0, OKTA = "https://mutx.eu.auth0.com/", "https://mutx.okta.com/oauth2/default"
KEYCLOAK = "https://id.example.com/realms/mutx"


class World:
    """A provider, and what checks its tokens."""

    def __init__(self, issuer: str = ISSUER, **settings: object) -> None:
        self.fake, self.clock = FakeProvider(issuer), Clock()
        whole = ProviderSettings(issuer, CLIENT, RULES, **settings)
        self.provider = Provider(whole, self.fake.http(), self.clock.sources())

    def token(self, **changed: object) -> str:
        return mint(good_claims(iss=self.fake.issuer, groups=["devs"], **changed))

    def user(self, token: str):
        return asyncio.run(self.provider.user_of(parse_token(token)))

    def refusal(self, token: str) -> str:
        with pytest.raises(TokenRefused) as refused:
            self.user(token)
        return refused.value.reason


@pytest.mark.parametrize("issuer", [OKTA, AUTH0, KEYCLOAK, ISSUER])
def test_an_access_token_of_each_provider_names_its_person(issuer):
    world = World(issuer)

    user = world.user(world.token())

    assert (user.issuer, user.subject, user.tenant, user.roles) == (
        issuer,
        "user-1",
        "acme",
        {Role.DEVELOPER},
    )
    assert world.fake.calls == [CONFIGURATION, "/keys"]


def test_keys_whose_address_the_operator_names_need_no_discovery():
    world = World(keys_url=f"{ISSUER}/keys")

    world.user(world.token())

    assert world.fake.calls == ["/keys"]


def test_what_needs_no_key_is_refused_before_any_call():
    world = World()

    assert world.refusal(world.token(exp=1)) == "expired"
    assert world.refusal(world.token(aud="other")) == "audience"
    assert world.refusal(world.token(nonce="n")) == "kind"
    assert world.refusal(mint(good_claims(), algorithm="RS512")) == "algorithm"
    assert not world.fake.calls


def test_a_token_by_a_key_that_the_provider_does_not_publish_is_refused():
    world = World()

    assert world.refusal(mint(good_claims(groups=["devs"]), which=1)) == "signature"
    assert world.refusal(mint(header={"alg": "RS256", "kid": "other"})) == "key-unknown"


def test_an_audience_of_the_apis_own_takes_any_clients_token_and_no_id_token():
    world = World(audience="mutx-api")

    assert world.user(world.token(aud=["mutx-api", "x"], azp="spa"))
    assert world.refusal(world.token()) == "audience"  # the client's own id, as ID tokens have it


def test_a_person_of_no_mapped_group_is_nobody():
    world = World()

    assert world.refusal(mint(good_claims(groups=["admin"], roles=["ADMIN"]))) == "unmapped"


def test_a_provider_that_is_down_is_told_from_a_bad_token():
    world = World()
    world.fake.replies["/keys"] = Reply(503, {})

    with pytest.raises(ProviderFailed):
        world.user(world.token())


URLS = {
    "https": ("https://id.example.com/keys", True),
    "https with a port": ("https://id.example.com:8443/keys", True),
    "http on loopback": ("http://127.0.0.1:9000/keys", True),
    "http on loopback's name": ("http://localhost/keys", True),
    "http elsewhere": ("http://id.example.com/keys", False),
    "http on the metadata address": ("http://169.254.169.254/latest", False),
    "http on a private address": ("http://10.0.0.1/keys", False),
    "a file": ("file:///etc/passwd", False),
    "gopher": ("gopher://127.0.0.1:6379/_", False),
    "no scheme": ("//id.example.com/keys", False),
    "a user": ("https://id.example.com@evil.example/", False),
    "a fragment": ("https://id.example.com/#keys", False),
    "a backslash": ("https://id.example.com\\@evil.example/", False),
    "a space": ("https://id.example.com /keys", False),
    "a line's end": ("https://id.example.com/\r\nhost: x", False),
    "another script": ("https://id.ex\u0430mple.com/", False),
    "no host": ("https:///keys", False),
    "a port that is none": ("https://id.example.com:0/keys", False),
    "a port too high": ("https://id.example.com:99999/keys", False),
    "half an address": ("https://[::1/keys", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize(("url", "is_plain"), URLS.values(), ids=URLS.keys())
def test_an_address_is_plain_or_not(url, is_plain):
    assert is_plain_url(url) is is_plain


REACHED = {
    "the issuer's own": (f"{ISSUER}/keys", True),
    "the issuer's own with its port": (f"{ISSUER}:443/keys", True),
    "a permitted host": ("https://keys.example.com/v1", True),
    "the issuer's on another port": (f"{ISSUER}:8443/keys", False),
    "a permitted host on another port": ("https://keys.example.com:9200/", False),
    "a permitted host in plain http": ("http://keys.example.com/", False),
    "a host within the issuer's": ("https://x.id.example.com/keys", False),
    "a host that begins like the issuer's": ("https://id.example.com.evil.example/keys", False),
    "the metadata address": ("https://169.254.169.254/latest/meta-data", False),
    "a private address": ("https://10.0.0.1/keys", False),
    "loopback": ("http://127.0.0.1:8200/v1/secret", False),
    "loopback by number": ("http://2130706433/", False),
    "loopback in IPv6": ("http://[::1]:8200/", False),
    "a list": ([f"{ISSUER}/keys"], False),
    "nothing": (None, False),
}


@pytest.mark.parametrize(("url", "is_reached"), REACHED.values(), ids=REACHED.keys())
@pytest.mark.parametrize(
    "member", ["jwks_uri", "token_endpoint", "userinfo_endpoint", "authorization_endpoint"]
)
def test_a_discovery_document_may_name(member, url, is_reached):
    document = {**FakeProvider().document, member: url}
    reach = Reach(ISSUER, {"keys.example.com"})

    if is_reached or (member, url) == ("userinfo_endpoint", None):
        read_discovery(document, reach)
    else:
        with pytest.raises(ProviderFailed):
            read_discovery(document, reach)


GOOGLES = {
    "issuer": GOOGLE,
    "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
    "token_endpoint": "https://oauth2.googleapis.com/token",
    "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
    "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
    "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
    "code_challenge_methods_supported": ["plain", "S256"],
}


def test_googles_document_names_hosts_that_are_known():
    found = read_discovery(GOOGLES, ProviderSettings(GOOGLE, CLIENT, RULES).reach)

    assert found.keys == "https://www.googleapis.com/oauth2/v3/certs"
    assert found.takes_basic
    assert not found.names_itself


def test_googles_hosts_are_nobody_elses():
    with pytest.raises(ProviderFailed):
        read_discovery({**GOOGLES, "issuer": ISSUER}, ProviderSettings(ISSUER, CLIENT, RULES).reach)


DOCUMENTS = {
    "another issuer": {"issuer": "https://evil.example"},
    "the issuer with a slash": {"issuer": f"{ISSUER}/"},
    "no issuer": {"issuer": None},
    "PKCE without S256": {"code_challenge_methods_supported": ["plain"]},
    "PKCE as a text": {"code_challenge_methods_supported": "S256"},
    "no token endpoint": {"token_endpoint": None},
    "no keys": {"jwks_uri": None},
}


@pytest.mark.parametrize("changed", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_document_is_refused_of(changed):
    fake = FakeProvider()
    fake.discovery = changed

    with pytest.raises(ProviderFailed):
        read_discovery(fake.document, Reach(ISSUER))


def test_a_document_is_kept_for_an_hour_and_the_last_good_one_in_an_outage():
    world = World()

    async def scenario():
        for world.clock.time in (0.0, 100.0, 3_599.0):
            await world.provider.discoverer.current()
        assert world.fake.calls == [CONFIGURATION]
        world.fake.replies[CONFIGURATION] = Reply(500, {})
        for world.clock.time in (3_600.0, 3_610.0, 86_399.0):
            await world.provider.discoverer.current()
        assert world.fake.calls == [CONFIGURATION] * 3  # once in an interval
        world.clock.time = 86_400.0
        with pytest.raises(ProviderFailed):
            await world.provider.discoverer.current()

    asyncio.run(scenario())


def test_many_at_once_make_one_call():
    world = World()

    async def scenario():
        await asyncio.gather(*(world.provider.discoverer.current() for _ in range(20)))

    asyncio.run(scenario())
    assert world.fake.calls == [CONFIGURATION]


def get(reply: Reply, deadline_s: float = 5.0):
    fake = FakeProvider()
    fake.replies["/x"] = reply

    async def scenario():
        http = fake.http(deadline_s)
        try:
            return require_ok(await http.get(f"{ISSUER}/x"))
        finally:
            await http.close()

    return asyncio.run(scenario())


def test_an_object_is_read():
    assert get(Reply(body={"a": 1})) == {"a": 1}


ANSWERS = {
    "a redirect": Reply(302, {}, {"location": "http://169.254.169.254/"}),
    "a redirect with what was asked for": Reply(307, {"keys": []}, {"location": f"{ISSUER}/keys"}),
    "an error": Reply(500, {"a": 1}),
    "created": Reply(201, {"a": 1}),
    "nothing": Reply(200, b""),
    "a list": Reply(200, b"[1]"),
    "a name twice": Reply(200, b'{"keys":[],"keys":[]}'),
    "HTML": Reply(200, b"<html>"),
    "too much": Reply(200, b'{"a":"' + b"x" * LARGEST + b'"}'),
    "a bomb": Reply(200, gzip.compress(b" " * 50_000_000 + b"{}"), {"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("reply", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_of_no_use_that_is(reply):
    with pytest.raises(ProviderFailed) as failed:
        get(reply)

    assert failed.value.__cause__ is None


def test_a_provider_that_hangs_is_left_after_the_deadline():
    async def hang(request):
        await asyncio.sleep(60)

    async def scenario():
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(hang))
        await ProviderHttp(client, 0.05).get(f"{ISSUER}/x")

    with pytest.raises(ProviderFailed):
        asyncio.run(scenario())
