"""A real Keycloak: its keys, its roles that stand in the access token alone, and its other tokens."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator

import pytest
from keycloak_process import CLIENT, SECRET, KeycloakProcess, sign_in
from mutx_control_plane.identity.claims import Rule
from mutx_control_plane.identity.jose import ALGORITHMS, TokenRefused, parse_token
from mutx_control_plane.identity.jwks import Freshness, read_key_set
from mutx_control_plane.identity.oidc import CodeFlow
from mutx_control_plane.identity.provider import Provider, ProviderSettings
from mutx_control_plane.identity.provider_http import ProviderHttp, make_client, require_ok
from mutx_control_plane.identity.secret_keys import read_secret_keys
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.roles import Role
from mutx_service.problem import Problem
from oidc_process import cookies_of
from pydantic import SecretStr

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

BACK = "https://api.mutx.example/v1/auth/callback/sso"
SECRETS = f"a:{base64.b64encode(bytes(range(32))).decode()}"
RULES = (
    Rule("realm_access.roles", "agents-dev", "acme", Role.DEVELOPER),
    Rule(f"resource_access.{CLIENT}.roles", "operator", "acme", Role.AUDIT_ADMIN),
)


@pytest.fixture(scope="module")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeycloakProcess]:
    server = KeycloakProcess(tmp_path_factory.mktemp("keycloak"), BACK)
    yield server
    server.stop()


def run(keycloak: KeycloakProcess, scenario):
    """Run a scenario with a flow and a provider that reach the server; unknown keys are asked for at once."""

    async def within():
        http = ProviderHttp(make_client(), 30)
        settings = ProviderSettings(
            keycloak.issuer, CLIENT, RULES, audience="mutx-api", client_secret=SecretStr(SECRET),
            freshness=Freshness(interval_s=0),
        )  # fmt: skip
        provider, reasons = Provider(settings, http, Sources()), []
        flow = CodeFlow(provider, read_secret_keys(SECRETS), BACK, Sources(), reasons.append)
        try:
            return await scenario(flow, provider, reasons)
        finally:
            await http.close()

    return asyncio.run(within())


async def walk(flow: CodeFlow, login: str):
    begun = await flow.begin()
    query = await asyncio.to_thread(sign_in, begun.url, login, BACK)
    return await flow.finish(query, cookies_of(begun))


def test_a_person_signs_in_with_the_roles_that_the_access_token_alone_has(keycloak):
    async def scenario(flow, provider, reasons):
        return await walk(flow, "ann")

    user, _ = run(keycloak, scenario)

    assert user.roles == {Role.DEVELOPER, Role.AUDIT_ADMIN}
    assert (user.issuer, user.tenant, user.email) == (keycloak.issuer, "acme", "ann@acme.example")
    told = parse_token(keycloak.tokens("ann")["id_token"]).claims
    assert "realm_access" not in told
    assert "resource_access" not in told


def test_a_person_without_mapped_roles_is_refused(keycloak):
    async def scenario(flow, provider, reasons):
        with pytest.raises(Problem, match="sign-in-failed"):
            await walk(flow, "eve")
        return reasons

    assert run(keycloak, scenario) == ["unmapped"]


def test_its_access_token_is_a_bearer_and_its_id_and_refresh_tokens_are_none(keycloak):
    tokens = keycloak.tokens("ann")

    async def scenario(flow, provider, reasons):
        refused = []
        for name in ("id_token", "refresh_token"):
            with pytest.raises(TokenRefused) as caught:
                await provider.user_of(parse_token(tokens[name]))
            refused.append(caught.value.reason)
        return refused, await provider.user_of(parse_token(tokens["access_token"]))

    refused, user = run(keycloak, scenario)

    assert refused == ["kind", "algorithm"]
    assert user.roles == {Role.DEVELOPER, Role.AUDIT_ADMIN}


def test_of_its_keys_those_for_encryption_are_left_out(keycloak):
    async def scenario(flow, provider, reasons):
        found = await provider.discoverer.current()
        return require_ok(await provider.http.get(found.keys))

    document = run(keycloak, scenario)

    uses = [key["use"] for key in document["keys"]]
    taken = {key.kid for key in read_key_set(document, ALGORITHMS)}
    assert "enc" in uses
    assert taken == {key["kid"] for key in document["keys"] if key["use"] == "sig"}


def test_a_new_key_is_found_at_its_first_token_and_the_old_tokens_stay_good(keycloak):
    old = keycloak.tokens("ann")["access_token"]

    async def scenario(flow, provider, reasons):
        await provider.user_of(parse_token(old))
        await asyncio.to_thread(keycloak.add_key, "rsa-generated", "RS256", 200)
        new = (await asyncio.to_thread(keycloak.tokens, "ann"))["access_token"]
        assert parse_token(new).kid != parse_token(old).kid
        return await provider.user_of(parse_token(new)), await provider.user_of(parse_token(old))

    by_new, by_old = run(keycloak, scenario)

    assert by_new == by_old


def test_its_userinfo_has_no_roles(keycloak):
    async def scenario(flow, provider, reasons):
        found = await provider.discoverer.current()
        return require_ok(
            await provider.http.get(found.userinfo, bearer=keycloak.tokens("ann")["access_token"])
        )

    said = json.dumps(run(keycloak, scenario))

    assert "ann@acme.example" in said
    assert "agents-dev" not in said
