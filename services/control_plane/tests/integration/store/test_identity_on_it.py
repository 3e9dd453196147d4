"""Identity on the real database: the races that its fakes only play."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from mutx_control_plane.identity.api_keys import Wish
from mutx_control_plane.identity.assembly import Identity, Stores, Witness, open_identity
from mutx_control_plane.identity.passwords import Cost, Hasher
from mutx_control_plane.identity.settings import read_identity_settings
from mutx_control_plane.identity.sources import Sources
from mutx_control_plane.roles import Role, Scope
from mutx_control_plane.store.accounts import StoredAccounts, StoredSetupLinks
from mutx_control_plane.store.api_keys import StoredApiKeys
from mutx_control_plane.store.sessions import StoredSessions
from mutx_service.problem import Problem
from provider_fake import CLIENT, FakeProvider
from store_world import ANN, TEST, World
from token_mint import ISSUER, good_claims, mint

SECRET = f"a:{base64.b64encode(os.urandom(32)).decode()}"
RULE = {"claim": "groups", "value": "devs", "tenant": "acme", "role": "DEVELOPER"}
PASSWORD = "a pony in the cellar"


@dataclass
class Served:
    """Identity as it serves, on a database of acme and globex."""

    identity: Identity
    stores: Stores
    reused: list


@pytest.fixture
def served(world: World, tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "map.yaml").write_text(yaml.safe_dump([RULE]))
    variables = {
        "OIDC_ISSUER": ISSUER, "OIDC_CLIENT_ID": CLIENT, "OIDC_ROLE_MAP": str(tmp_path / "map.yaml"),
        "SECRET_ENCRYPTION_KEY": SECRET,
    }  # fmt: skip
    database, reused = world.database, []
    stores = Stores(
        StoredAccounts(database, lambda: TEST, uuid4),
        StoredSetupLinks(database, lambda: TEST),
        StoredSessions(database, lambda: TEST),
        StoredApiKeys(database, lambda: TEST),
    )

    async def note(family) -> None:
        reused.append(family.id)

    settings = read_identity_settings(variables, "http://127.0.0.1:8443")
    hasher = Hasher(Cost(memory_kib=64, passes=1, lanes=1))
    witness = Witness(lambda _reason: None, note)
    fake = FakeProvider()
    fake.now = int(time.time())
    identity = open_identity(
        settings, tmp_path, stores, witness, fake.http(), sources=Sources(), hasher=hasher
    )
    yield Served(identity, stores, reused)
    asyncio.run(identity.close())


async def outcome(work) -> object:
    try:
        return await work
    except Problem as problem:
        return problem.code


def test_tabs_at_once_get_one_successor(served):
    async def scenario():
        account = await served.stores.accounts.find(ANN)
        first = await served.identity.sessions.start(account)
        found = await asyncio.gather(*(served.identity.sessions.refresh(first.refresh) for _ in range(16)))
        return {each.refresh for each in found}, await served.identity.sessions.refresh(found[0].refresh)

    texts, later = asyncio.run(scenario())

    assert len(texts) == 1
    assert later.account.id == ANN
    assert not served.reused


def test_a_session_that_is_ended_while_it_is_refreshed_is_over(served):
    async def scenario():
        account = await served.stores.accounts.find(ANN)
        for _ in range(10):
            first = await served.identity.sessions.start(account)
            refreshed, _ = await asyncio.gather(
                outcome(served.identity.sessions.refresh(first.refresh)),
                served.identity.sessions.end_all(ANN),
            )
            newest = first.refresh if isinstance(refreshed, str) else refreshed.refresh
            assert await outcome(served.identity.sessions.refresh(newest)) == "session-ended"

    asyncio.run(scenario())


def test_of_many_who_use_a_link_at_once_one_sets_the_password(served):
    async def scenario():
        secret = await served.identity.passwords.make_link(ANN)
        words = [f"{PASSWORD} number {each}" for each in range(8)]
        found = await asyncio.gather(
            *(outcome(served.identity.passwords.set_up(secret, each)) for each in words)
        )
        (set_one,) = [word for word, each in zip(words, found, strict=True) if each != "sign-in-failed"]
        account = await served.stores.accounts.find(ANN)
        return await served.identity.passwords.sign_in(account.email, set_one)

    assert asyncio.run(scenario()).id == ANN


def test_a_key_that_is_revoked_is_refused_by_the_next_call(served):
    async def scenario():
        account = await served.stores.accounts.find(ANN)
        signed_in = await served.identity.sessions.start(account)
        caller = await served.identity.bearer.principal_of(signed_in.access.token)
        wish = Wish("ci", frozenset({Scope.READ}), timedelta(days=1))
        key, text = await served.identity.api_keys.make(caller, wish)
        by_key = await served.identity.bearer.principal_of(text)
        await served.identity.api_keys.revoke(ANN, key.id)
        return by_key, key, await outcome(served.identity.bearer.principal_of(text))

    by_key, key, after = asyncio.run(scenario())

    assert (by_key.user, by_key.tenant, by_key.key) == (ANN, "acme", key.id)
    assert by_key.scopes == {Scope.READ}
    assert after == "credentials-refused"


def test_a_providers_person_who_comes_many_times_at_once_gets_one_account(served):
    now = int(time.time())
    token = mint(good_claims(groups=["devs"], iat=now, exp=now + 300))

    async def scenario():
        return await asyncio.gather(*(served.identity.bearer.principal_of(token) for _ in range(12)))

    found = asyncio.run(scenario())

    assert len({each.user for each in found}) == 1
    assert {each.roles for each in found} == {frozenset({Role.DEVELOPER})}
