"""Sessions: a refresh token serves once; a stolen one ends the session for the thief too."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from identity_fakes import ANN, BOB, Clock, MemoryAccounts, MemorySessions
from mutx_control_plane.identity.access_tokens import AccessTokens
from mutx_control_plane.identity.jose import TokenRefused, parse_token
from mutx_control_plane.identity.secret_keys import read_secret_keys
from mutx_control_plane.identity.sessions import SessionDesk
from mutx_control_plane.identity.signing import KeyFolder, make_key
from mutx_control_plane.roles import Role
from mutx_service.problem import Problem
from token_mint import NOW

FIRST, SECOND = (base64.b64encode(bytes(range(start, start + 32))).decode() for start in (0, 100))
DAY = 86_400


class World:
    """One store of sessions, and servers that share it."""

    def __init__(self, folder) -> None:
        make_key(folder, datetime.fromtimestamp(NOW - 100, UTC))
        self.clock, self.accounts, self.reused = Clock(), MemoryAccounts(), []
        self.accounts.put(ANN)
        self.accounts.put(BOB)
        self.store = MemorySessions(self.accounts)
        keys = KeyFolder(folder, lambda: self.clock.time)
        self.tokens = AccessTokens(keys.current, "https://api.example", self.clock.sources())
        self.desk = self.open(f"a:{FIRST}")

    def open(self, secrets: str) -> SessionDesk:
        return SessionDesk(
            self.store, self.tokens, read_secret_keys(secrets), self.clock.sources(), self.note_reuse
        )

    async def note_reuse(self, family) -> None:
        self.reused.append(family.id)

    def start(self, account=ANN):
        return asyncio.run(self.desk.start(account))

    def refresh(self, text: str):
        return asyncio.run(self.desk.refresh(text))

    def is_ended(self, text: str) -> bool:
        with pytest.raises(Problem) as refused:
            self.refresh(text)
        return refused.value.code == "session-ended"


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def family_of(world: World, signed_in) -> object:
    return world.tokens.verify(parse_token(signed_in.access.token)).family


def test_a_session_begins_with_an_access_token_and_a_refresh_token_of_seven_days(world):
    signed_in = world.start()

    caller = world.tokens.verify(parse_token(signed_in.access.token))
    assert (caller.user, caller.tenant, caller.roles) == (ANN.id, "acme", ANN.roles)
    assert signed_in.expires - world.clock.now() == timedelta(days=7)


def test_each_refresh_gives_another_refresh_token_of_the_same_session(world):
    first = world.start()

    second = world.refresh(first.refresh)
    third = world.refresh(second.refresh)

    assert len({first.refresh, second.refresh, third.refresh}) == 3
    assert family_of(world, first) == family_of(world, second) == family_of(world, third)


def test_the_next_access_token_has_the_roles_that_the_account_has_now(world):
    first = world.start()
    world.accounts.put(replace(ANN, roles=frozenset({Role.VIEWER})))

    second = world.refresh(first.refresh)

    assert world.tokens.verify(parse_token(second.access.token)).roles == {Role.VIEWER}


def test_a_used_token_ends_the_session_for_everybody_after_the_grace(world):
    first = world.start()
    second = world.refresh(first.refresh)
    world.clock.time += 11

    assert world.is_ended(first.refresh)

    assert world.is_ended(second.refresh)
    assert len(world.reused) == 1


def test_within_the_grace_a_used_token_answers_with_the_same_successor(world):
    first = world.start()
    second = world.refresh(first.refresh)
    world.clock.time += 10

    again = world.refresh(first.refresh)

    assert again.refresh == second.refresh
    assert again.expires == second.expires
    assert not world.reused


def test_within_the_grace_a_used_token_answers_with_the_newest_of_its_session(world):
    first = world.start()
    second = world.refresh(first.refresh)
    third = world.refresh(second.refresh)

    assert world.refresh(first.refresh).refresh == third.refresh


def test_a_thief_who_was_quick_holds_the_owners_token_and_is_seen_at_the_next_use_but_one(world):
    first = world.start()
    owner = world.refresh(first.refresh)
    thief = world.refresh(first.refresh)
    world.clock.time += 60

    world.refresh(thief.refresh)
    world.clock.time += 60

    assert world.is_ended(owner.refresh)
    assert len(world.reused) == 1


def test_tabs_at_once_get_one_successor_and_the_session_goes_on(world):
    first = world.start()

    async def scenario():
        return await asyncio.gather(*(world.desk.refresh(first.refresh) for _ in range(20)))

    found = asyncio.run(scenario())

    assert len({each.refresh for each in found}) == 1
    assert len(world.store.tokens) == 2
    assert world.refresh(found[0].refresh)
    assert not world.reused


def test_sign_out_races_a_refresh_and_the_session_is_over(world):
    first = world.start()

    async def scenario():
        return await asyncio.gather(
            world.desk.refresh(first.refresh), world.desk.sign_out(first.refresh), return_exceptions=True
        )

    refreshed, _ = asyncio.run(scenario())

    newest = refreshed.refresh if not isinstance(refreshed, Problem) else first.refresh
    assert world.is_ended(newest)


def test_a_refresh_token_of_a_session_ends_after_seven_days_without_use(world):
    first = world.start()
    world.clock.time += 7 * DAY

    assert world.is_ended(first.refresh)
    assert not world.reused


def test_a_used_session_ends_after_thirty_days_all_the_same(world):
    text = world.start().refresh
    for _ in range(4):
        world.clock.time += 6 * DAY
        signed_in = world.refresh(text)
        text = signed_in.refresh

    world.clock.time += 5 * DAY
    last = world.refresh(text)

    assert last.expires - world.clock.now() == timedelta(days=1)
    world.clock.time += DAY
    assert world.is_ended(last.refresh)


def test_sign_out_ends_the_session_and_no_other(world):
    one, other = world.start(), world.start()

    ended = asyncio.run(world.desk.sign_out(one.refresh))

    assert ended is not None
    assert world.is_ended(one.refresh)
    assert world.refresh(other.refresh)


@pytest.mark.parametrize("text", ["", "x", "mutxr_", f"mutxr_{'A' * 43}", f"mutxr_{'A' * 42}\n"], ids=repr)
def test_signing_out_with_anything_else_ends_nothing_and_fails_not(world, text):
    signed_in = world.start()

    assert asyncio.run(world.desk.sign_out(text)) is None

    assert world.refresh(signed_in.refresh)


def test_every_session_of_an_account_ends_at_once_and_nobody_elses(world):
    mine, other = [world.start(), world.start()], world.start(BOB)

    assert asyncio.run(world.desk.end_all(ANN.id)) == 2

    assert all(world.is_ended(each.refresh) for each in mine)
    assert world.refresh(other.refresh)


def test_an_inactive_account_is_refreshed_no_more_though_it_is_active_again_later(world):
    first = world.start()
    world.accounts.put(replace(ANN, is_active=False))
    assert world.is_ended(first.refresh)

    world.accounts.put(ANN)

    assert world.is_ended(first.refresh)


def test_a_used_token_of_an_ended_session_is_no_reuse(world):
    first = world.start()
    second = world.refresh(first.refresh)
    asyncio.run(world.desk.sign_out(second.refresh))
    world.clock.time += 60

    assert world.is_ended(first.refresh)
    assert not world.reused


def test_a_changed_secret_key_breaks_no_session_and_no_grace(world):
    first = world.start()
    second = world.refresh(first.refresh)
    world.desk = world.open(f"b:{SECOND},a:{FIRST}")

    third = world.refresh(second.refresh)

    assert world.refresh(first.refresh).refresh == third.refresh


@pytest.mark.parametrize(
    "make",
    [
        lambda world, first: first.access.token,
        lambda world, first: first.refresh[:-1],
        lambda world, first: first.refresh + "A",
        lambda world, first: first.refresh.removeprefix("mutxr_"),
        lambda world, first: first.refresh.upper(),
        lambda world, first: next(iter(world.store.tokens)).hex(),
        lambda world, first: (
            "mutxr_" + base64.urlsafe_b64encode(next(iter(world.store.tokens))).decode().rstrip("=")
        ),
    ],
    ids=[
        "an access token",
        "a part",
        "more",
        "no prefix",
        "capitals",
        "the stored hash",
        "the stored hash in form",
    ],
)
def test_no_session_is_refreshed_by(world, make):
    first = world.start()

    assert world.is_ended(make(world, first))

    assert world.refresh(first.refresh)


def test_a_refresh_token_is_no_access_token(world):
    with pytest.raises(TokenRefused):
        parse_token(world.start().refresh)


def test_the_tokens_are_not_shown_by_the_value_that_holds_them(world):
    signed_in = world.start()

    assert signed_in.refresh not in repr(signed_in)
    assert signed_in.access.token not in repr(signed_in)


def test_no_refresh_token_is_kept(world):
    first = world.start()
    second = world.refresh(first.refresh)

    kept = repr(world.store)

    assert first.refresh not in kept
    assert second.refresh not in kept
