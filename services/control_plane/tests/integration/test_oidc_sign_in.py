"""Signing in at a real provider, and its access tokens as bearers; with each kind of signature and of client."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator

import pytest
from mutx_control_plane.identity.claims import Rule
from mutx_control_plane.identity.jose import TokenRefused, parse_token
from mutx_control_plane.identity.oidc import CodeFlow
from mutx_control_plane.identity.provider import Provider, ProviderSettings
from mutx_control_plane.identity.provider_http import ProviderHttp, make_client
from mutx_control_plane.identity.secret_keys import read_secret_keys
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.roles import Role
from mutx_service.problem import Problem
from oidc_process import cookies_of, names, oidc_provider, walk
from pydantic import SecretStr

BACK = "https://api.mutx.example/v1/auth/callback"
CLIENT = "mutx-dashboard"
AUDIENCE = "mutx-api"
SECRET = "a secret/with+signs:and=%spaces"
SECRETS = f"a:{base64.b64encode(bytes(range(32))).decode()}"
RULES = (
    Rule("groups", "acme-devs", "acme", Role.DEVELOPER),
    Rule("groups", "acme-chiefs", "acme", Role.ADMIN),
)
GROUPS = {"ann": ["acme-devs", "admin"], "bob": ["acme-devs", "acme-chiefs"]}


@pytest.fixture(scope="module", params=["RS256", "ES256", "PS256", "EdDSA"])
def issuer(request: pytest.FixtureRequest) -> Iterator[str]:
    """Serve a confidential client; access tokens are JWTs for an audience of the API's own."""
    with oidc_provider(
        client_id=CLIENT, client_secret=SECRET, redirect_uris=[BACK], audience=AUDIENCE, groups=GROUPS,
        algorithm=request.param,
    ) as url:  # fmt: skip
        yield url


def run(issuer: str, scenario, **settings):
    """Run a scenario with a flow and a provider that reach the real one."""
    whole = {"audience": AUDIENCE, "client_secret": SecretStr(SECRET)} | settings

    async def within():
        http = ProviderHttp(make_client())
        provider = Provider(ProviderSettings(issuer, CLIENT, RULES, **whole), http, Sources())
        reasons: list[str] = []
        flow = CodeFlow(provider, read_secret_keys(SECRETS), BACK, Sources(), reasons.append)
        try:
            return await scenario(flow, provider, reasons)
        finally:
            await http.close()

    return asyncio.run(within())


async def sign_in(flow: CodeFlow, login: str):
    begun = await flow.begin("/agents")
    query = await asyncio.to_thread(walk, begun.url, login, BACK)
    return await flow.finish(query, cookies_of(begun))


@pytest.mark.parametrize(
    ("login", "roles"), [("ann", {Role.DEVELOPER}), ("bob", {Role.DEVELOPER, Role.ADMIN})]
)
def test_a_person_signs_in_with_the_roles_of_the_map(issuer, login, roles):
    async def scenario(flow, provider, reasons):
        return await sign_in(flow, login)

    user, path = run(issuer, scenario)

    assert (user.issuer, user.subject, user.tenant, user.roles) == (issuer, login, "acme", roles)
    assert path == "/agents"


def test_a_person_of_no_mapped_group_is_refused(issuer):
    async def scenario(flow, provider, reasons):
        with pytest.raises(Problem, match="sign-in-failed"):
            await sign_in(flow, "eve")
        return reasons

    assert run(issuer, scenario) == ["unmapped"]


def test_the_provider_names_itself_and_a_code_serves_once(issuer):
    async def scenario(flow, provider, reasons):
        begun = await flow.begin()
        query = await asyncio.to_thread(walk, begun.url, "ann", BACK)
        assert names(query) == {"code", "state", "iss"}
        await flow.finish(query, cookies_of(begun))
        with pytest.raises(Problem, match="sign-in-failed"):
            await flow.finish(query, cookies_of(begun))
        return reasons

    assert run(issuer, scenario) == ["code"]


def test_another_browsers_code_is_refused_by_the_provider(issuer):
    """PKCE: the code is put into a sign-in of one's own, whose verifier is another."""

    async def scenario(flow, provider, reasons):
        mine, theirs = await flow.begin(), await flow.begin()
        stolen = dict(await asyncio.to_thread(walk, theirs.url, "bob", BACK))["code"]
        own = dict(await asyncio.to_thread(walk, mine.url, "ann", BACK))
        with pytest.raises(Problem, match="sign-in-failed"):
            await flow.finish(list({**own, "code": stolen}.items()), cookies_of(mine))
        return reasons

    assert run(issuer, scenario) == ["code"]


def test_a_wrong_secret_signs_nobody_in(issuer):
    async def scenario(flow, provider, reasons):
        with pytest.raises(Problem, match="sign-in-failed"):
            await sign_in(flow, "ann")
        return reasons

    assert run(issuer, scenario, client_secret=SecretStr("guess")) == ["code"]


class Overheard(CodeFlow):
    """A flow that keeps what the provider answered."""

    async def _exchange(self, code, verifier, discovery):
        self.answer = await super()._exchange(code, verifier, discovery)
        return self.answer


def test_its_access_token_is_a_bearer_and_its_id_token_is_none(issuer):
    async def scenario(flow, provider, reasons):
        flow.__class__ = Overheard
        await sign_in(flow, "bob")
        access, identity = (parse_token(flow.answer[name]) for name in ("access_token", "id_token"))
        with pytest.raises(TokenRefused):
            await provider.user_of(identity)
        return access.typ, await provider.user_of(access)

    typ, user = run(issuer, scenario)

    assert typ == "at+jwt"
    assert (user.subject, user.tenant, user.roles) == ("bob", "acme", {Role.DEVELOPER, Role.ADMIN})


def test_a_public_client_and_opaque_access_tokens_get_the_address_of_userinfo():
    async def scenario(flow, provider, reasons):
        return await sign_in(flow, "ann")

    with oidc_provider(client_id=CLIENT, redirect_uris=[BACK], groups=GROUPS) as issuer:
        user, _ = run(issuer, scenario, audience="", client_secret=None)

    assert (user.email, user.roles) == ("ann@acme.example", {Role.DEVELOPER})
