"""Identity as it serves: each way in leads to the same caller, over a restart too."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from identity_fakes import ANN, Clock, MemoryAccounts, MemoryApiKeys, MemoryLinks, MemorySessions
from mutx_control_plane.identity.api_keys import Wish
from mutx_control_plane.identity.assembly import Identity, Stores, Witness, open_identity
from mutx_control_plane.identity.passwords import Cost, Hasher
from mutx_control_plane.identity.settings import read_identity_settings
from mutx_control_plane.principal import Method
from mutx_control_plane.roles import Role, Scope
from mutx_service.problem import Problem
from provider_fake import CLIENT, FakeProvider
from token_mint import ISSUER

RULE = {"claim": "groups", "value": "devs", "tenant": "acme", "role": "DEVELOPER"}
PASSWORD = "a pony in the cellar"


class World:
    """A state directory, stores and a provider, and identity opened on them as often as it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.fake = folder, Clock(), FakeProvider()
        self.fake.id_claims = {"groups": ["devs"]}
        accounts = MemoryAccounts()
        accounts.put(ANN)
        self.stores = Stores(
            accounts, MemoryLinks(accounts), MemorySessions(accounts), MemoryApiKeys(accounts)
        )
        (folder / "map.yaml").write_text(yaml.safe_dump([RULE]))
        self.refused: list[str] = []
        self.reused: list[object] = []

    async def note_reuse(self, family: object) -> None:
        self.reused.append(family)

    def open(self) -> Identity:
        role_map = str(self.folder / "map.yaml")
        variables = {"OIDC_ISSUER": ISSUER, "OIDC_CLIENT_ID": CLIENT, "OIDC_ROLE_MAP": role_map}
        settings = read_identity_settings(variables, "http://127.0.0.1:8443")
        witness = Witness(self.refused.append, self.note_reuse)
        hasher = Hasher(Cost(memory_kib=64, passes=1, lanes=1))
        return open_identity(
            settings,
            self.folder,
            self.stores,
            witness,
            self.fake.http(),
            sources=self.clock.sources(),
            hasher=hasher,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def in_by_password(identity: Identity):
    link = await identity.passwords.make_link(ANN.id)
    await identity.passwords.set_up(link, PASSWORD)
    return await identity.sessions.start(await identity.passwords.sign_in(ANN.email, PASSWORD))


def test_a_person_sets_a_password_signs_in_makes_a_key_and_calls_with_it(world):
    async def scenario():
        identity = world.open()
        signed_in = await in_by_password(identity)
        by_token = await identity.bearer.principal_of(signed_in.access.token)
        wish = Wish("ci", frozenset({Scope.READ}), timedelta(days=1))
        _, text = await identity.api_keys.make(by_token, wish)
        by_key = await identity.bearer.principal_of(text)
        await identity.close()
        return by_token, by_key

    by_token, by_key = asyncio.run(scenario())

    assert (by_token.user, by_token.method) == (ANN.id, Method.ACCESS_TOKEN)
    assert (by_key.user, by_key.method, by_key.roles) == (ANN.id, Method.API_KEY, by_token.roles)


def test_a_person_of_a_provider_signs_in_and_goes_on_with_our_tokens(world):
    async def scenario():
        identity = world.open()
        begun = await identity.flows["sso"].begin()
        back = world.fake.authorise(begun.url)
        user, _ = await identity.flows["sso"].finish(back, {begun.cookie_name: begun.cookie})
        account = await world.stores.accounts.ensure_sso(user, world.clock.now())
        signed_in = await identity.sessions.start(account)
        again = await identity.sessions.refresh(signed_in.refresh)
        caller = await identity.bearer.principal_of(again.access.token)
        await identity.close()
        return begun.url, caller

    url, caller = asyncio.run(scenario())

    assert "redirect_uri=http%3A%2F%2F127.0.0.1%3A8443%2Fv1%2Fauth%2Fcallback%2Fsso" in url
    assert (caller.tenant, caller.roles) == ("acme", {Role.DEVELOPER})


def test_tokens_keys_and_sessions_outlive_a_restart(world):
    async def scenario():
        first = world.open()
        signed_in = await in_by_password(first)
        caller = await first.bearer.principal_of(signed_in.access.token)
        _, key = await first.api_keys.make(caller, Wish("ci", frozenset({Scope.READ}), timedelta(days=1)))
        await first.close()
        second = world.open()
        found = [
            await second.bearer.principal_of(signed_in.access.token),
            await second.bearer.principal_of(key),
            (await second.sessions.refresh(signed_in.refresh)).account,
        ]
        await second.close()
        return found

    by_token, by_key, account = asyncio.run(scenario())

    assert by_token.user == by_key.user == account.id == ANN.id


def test_nothing_of_one_kind_passes_for_another(world):
    async def scenario():
        identity = world.open()
        signed_in = await in_by_password(identity)
        link = await identity.passwords.make_link(ANN.id)
        for text in (signed_in.refresh, link, PASSWORD):
            with pytest.raises(Problem, match="credentials-refused"):
                await identity.bearer.principal_of(text)
        for text in (signed_in.access.token, link, PASSWORD):
            with pytest.raises(Problem, match="session-ended"):
                await identity.sessions.refresh(text)
        await identity.close()

    asyncio.run(scenario())

    assert not world.reused


def test_a_reused_refresh_token_is_told_to_the_witness(world):
    async def scenario():
        identity = world.open()
        signed_in = await in_by_password(identity)
        await identity.sessions.refresh(signed_in.refresh)
        world.clock.time += 11
        with pytest.raises(Problem, match="session-ended"):
            await identity.sessions.refresh(signed_in.refresh)
        await identity.close()

    asyncio.run(scenario())

    assert [family.account for family in world.reused] == [ANN.id]
