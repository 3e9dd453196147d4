"""Sessions and API keys, as identity uses them; each token used once, however many try."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from mutx_control_plane.identity.ports import ApiKey, ApiKeys, Family, RefreshToken, Sessions
from mutx_control_plane.roles import Scope
from mutx_control_plane.store import audit, sessions
from mutx_control_plane.store.api_keys import StoredApiKeys
from mutx_control_plane.store.event import Origin
from mutx_control_plane.store.paging import Ask
from mutx_control_plane.store.sessions import StoredSessions
from store_world import ANN, BOB, GUS, NOW, World

WEEK = NOW + timedelta(days=7)
FAMILY = Family(UUID(int=50), ANN, NOW, WEEK)
FIRST = RefreshToken(b"0" * 32, FAMILY.id, 0, WEEK)
KEY = ApiKey(
    UUID(int=60), ANN, "acme", "ci", "mk_abc", b"m" * 32, "p1", "sealed", frozenset({Scope.READ, Scope.WRITE}), NOW,
    WEEK,
)  # fmt: skip


def token(number: int, mark: int = 0) -> RefreshToken:
    return RefreshToken(bytes([number, mark]) * 16, FAMILY.id, number, WEEK)


@pytest.fixture
def stored(world: World) -> Sessions:
    made = StoredSessions(world.database, lambda: Origin("anonymous", "192.0.2.1"))
    asyncio.run(made.start(FAMILY, FIRST))
    return made


@pytest.fixture
def keys(world: World) -> ApiKeys:
    made = StoredApiKeys(world.database, lambda: Origin("anonymous", "192.0.2.1"))
    assert asyncio.run(made.add(KEY))
    return made


def recorded(world: World) -> list[tuple[str, str]]:
    rows = world.read(lambda connection: audit.page(connection, audit.Filter(), Ask(200)).rows)
    return [(row.origin.actor, row.event.action) for row in rows]


def test_a_token_is_found_with_its_family_and_account(stored: Sessions) -> None:
    family, found, account = asyncio.run(stored.find(FIRST.token_hash))

    assert (family, found, account.id) == (FAMILY, FIRST, ANN)
    assert asyncio.run(stored.find(b"?" * 32)) is None


def test_a_token_is_rotated_once(world: World, stored: Sessions) -> None:
    rotated = [
        asyncio.run(stored.rotate(FIRST.token_hash, successor, NOW)) for successor in (token(1), token(2))
    ]

    family, used, _ = asyncio.run(stored.find(FIRST.token_hash))
    assert rotated == [True, False]
    assert (family.generation, used.used) == (1, NOW)
    assert asyncio.run(stored.find(token(2).token_hash)) is None
    assert recorded(world)[:2] == [(f"user:{ANN}", "session.refreshed"), (f"user:{ANN}", "session.started")]


def test_of_fifty_who_rotate_a_token_at_once_one_does(stored: Sessions) -> None:
    async def race() -> list[bool]:
        calls = (stored.rotate(FIRST.token_hash, token(1, mark), NOW) for mark in range(50))
        return await asyncio.gather(*calls)

    assert sum(asyncio.run(race())) == 1
    family, _, _ = asyncio.run(stored.find(FIRST.token_hash))
    assert family.generation == 1


def test_a_family_that_ended_is_not_rotated_and_ends_once(stored: Sessions) -> None:
    ended = [asyncio.run(stored.end(FAMILY.id, NOW)) for _ in range(2)]

    assert ended == [True, False]
    assert asyncio.run(stored.rotate(FIRST.token_hash, token(1), NOW)) is False
    family, found, _ = asyncio.run(stored.find(FIRST.token_hash))
    assert (family.ended, found.used) == (NOW, None)


@pytest.mark.parametrize("attempt", range(5))
def test_a_rotation_that_races_an_end_never_outlives_it(stored: Sessions, attempt: int) -> None:
    async def race() -> None:
        await asyncio.gather(stored.rotate(FIRST.token_hash, token(1), NOW), stored.end(FAMILY.id, NOW))

    asyncio.run(race())

    family, _, _ = asyncio.run(stored.find(FIRST.token_hash))
    assert family.ended == NOW
    assert asyncio.run(stored.rotate(token(1).token_hash, token(2), NOW)) is False


def test_a_successor_of_another_family_is_refused(stored: Sessions) -> None:
    other = Family(uuid4(), BOB, NOW, WEEK)
    asyncio.run(stored.start(other, RefreshToken(b"b" * 32, other.id, 0, WEEK)))

    crossed = asyncio.run(stored.rotate(FIRST.token_hash, replace(token(1), family=other.id), NOW))

    assert crossed is False


def test_all_of_an_accounts_families_end_and_nobody_elses(stored: Sessions) -> None:
    second, others = Family(uuid4(), ANN, NOW, WEEK), Family(uuid4(), GUS, NOW, WEEK)
    for number, family in enumerate((second, others)):
        asyncio.run(stored.start(family, RefreshToken(bytes([number + 100]) * 32, family.id, 0, WEEK)))

    ended = [asyncio.run(stored.end_all(account, NOW)) for account in (ANN, ANN, uuid4())]

    family, _, _ = asyncio.run(stored.find(bytes([101]) * 32))
    assert ended == [2, 0, 0]
    assert family.ended is None


def test_families_that_are_over_are_forgotten_with_their_tokens(world: World, stored: Sessions) -> None:
    kept = world.write(lambda change: sessions.purge(change, NOW))
    gone = world.write(lambda change: sessions.purge(change, WEEK + timedelta(seconds=1)))

    assert (kept, gone) == (0, 1)
    assert asyncio.run(stored.find(FIRST.token_hash)) is None


def test_a_key_is_found_by_its_prefix_with_its_account(keys: ApiKeys) -> None:
    key, account = asyncio.run(keys.find(KEY.prefix))

    assert (key, account.id, account.tenant) == (KEY, ANN, "acme")
    assert asyncio.run(keys.find("mk_none")) is None


def test_a_prefix_is_one_keys_in_all_tenants(keys: ApiKeys) -> None:
    twin = replace(KEY, id=uuid4(), account=GUS, tenant="globex")

    assert asyncio.run(keys.add(twin)) is False


def test_a_key_of_an_account_of_another_tenant_is_refused(keys: ApiKeys) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        asyncio.run(keys.add(replace(KEY, id=uuid4(), account=GUS, prefix="mk_new")))


def test_keys_are_listed_for_their_account_the_newest_first(keys: ApiKeys) -> None:
    newer = replace(KEY, id=uuid4(), prefix="mk_new", created=NOW + timedelta(seconds=1), expires=None)
    asyncio.run(keys.add(newer))

    assert list(asyncio.run(keys.list_of(ANN))) == [newer, KEY]
    assert list(asyncio.run(keys.list_of(BOB))) == []
    assert list(asyncio.run(keys.list_of(uuid4()))) == []


def test_a_key_is_revoked_by_its_account_alone_and_stays_so_from_then(keys: ApiKeys) -> None:
    later = NOW + timedelta(hours=1)

    calls = ((BOB, KEY.id, NOW), (ANN, KEY.id, NOW), (ANN, KEY.id, later), (ANN, uuid4(), NOW))
    revoked = [asyncio.run(keys.revoke(*call)) for call in calls]

    key, _ = asyncio.run(keys.find(KEY.prefix))
    assert revoked == [False, True, True, False]
    assert key.revoked == NOW


def test_a_use_is_noted_and_audited_once_a_minute_and_only_forward(world: World, keys: ApiKeys) -> None:
    seen = []
    for seconds in (300, 0, 359, 360):
        asyncio.run(keys.touch(KEY.id, NOW + timedelta(seconds=seconds)))
        seen.append((asyncio.run(keys.find(KEY.prefix))[0].last_used - NOW).seconds)

    assert seen == [300, 300, 300, 360]
    assert recorded(world).count((f"user:{ANN}", "api-key.used")) == 2


def test_of_twenty_who_use_a_key_at_once_one_notes_it(world: World, keys: ApiKeys) -> None:
    async def race() -> None:
        await asyncio.gather(*(keys.touch(KEY.id, NOW + timedelta(milliseconds=n)) for n in range(20)))

    asyncio.run(race())

    assert recorded(world).count((f"user:{ANN}", "api-key.used")) == 1


def test_a_key_is_sealed_anew_once(keys: ApiKeys) -> None:
    anew = replace(KEY, mac=b"n" * 32, pepper="p2", sealed="sealed-2")

    changed = [asyncio.run(keys.rekey(KEY, anew)) for _ in range(2)]

    assert changed == [True, False]
    assert asyncio.run(keys.find(KEY.prefix))[0] == anew
