"""API keys: made once, found by their prefix, and nothing that is stored is one."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_fakes import ANN, BOB, Clock, MemoryAccounts, MemoryApiKeys
from mutx_control_plane.identity.api_keys import FORM, MOST_KEYS, ApiKeyDesk, Wish, has_form, make_text
from mutx_control_plane.identity.jose import TokenRefused
from mutx_control_plane.identity.sealing import AesSealer, SealBroken
from mutx_control_plane.identity.secret_keys import read_secret_keys
from mutx_control_plane.principal import Method, Principal
from mutx_control_plane.roles import Role, Scope
from mutx_service.problem import Problem

FIRST, SECOND = (base64.b64encode(bytes(range(start, start + 32))).decode() for start in (0, 100))
WISH = Wish("ci", frozenset({Scope.READ}), timedelta(days=30))


class World:
    """Keys of two accounts of two tenants."""

    def __init__(self, secrets: str = f"a:{FIRST}") -> None:
        self.clock, self.accounts = Clock(), MemoryAccounts()
        self.accounts.put(ANN)
        self.accounts.put(BOB)
        self.store = MemoryApiKeys(self.accounts)
        self.desk = self.open(secrets)

    def open(self, secrets: str) -> ApiKeyDesk:
        keys, sources = read_secret_keys(secrets), self.clock.sources()
        return ApiKeyDesk(self.store, keys, AesSealer(keys, sources.random_bytes), sources)

    def make(self, wish: Wish = WISH, *, by: Principal | None = None):
        caller = by or Principal(ANN.id, ANN.tenant, ANN.roles, Method.ACCESS_TOKEN)
        return asyncio.run(self.desk.make(caller, wish))

    def principal(self, text: str) -> Principal:
        return asyncio.run(self.desk.principal_of(text))

    def refusal(self, text: str) -> str:
        with pytest.raises(TokenRefused) as refused:
            self.principal(text)
        return refused.value.reason


@pytest.fixture
def world() -> World:
    return World()


def test_a_key_names_its_account_with_the_keys_scopes(world):
    key, text = world.make()

    caller = world.principal(text)

    assert caller == Principal(ANN.id, "acme", ANN.roles, Method.API_KEY, frozenset({Scope.READ}), key=key.id)


def test_a_key_has_the_roles_that_its_account_has_now(world):
    _, text = world.make()
    world.accounts.put(replace(ANN, roles=frozenset({Role.VIEWER})))

    assert world.principal(text).roles == {Role.VIEWER}


def test_a_key_has_the_form_that_scanners_look_for(world):
    _, text = world.make()

    assert re.fullmatch(r"mutx_[a-z0-9]{10}_[0-9A-Za-z]{49}", text)
    assert FORM.fullmatch(text)


def test_nothing_that_is_stored_is_the_key_nor_holds_its_secret(world):
    key, text = world.make()
    secret = text.rpartition("_")[2]

    assert secret not in repr(key)
    for stored in (
        key.prefix,
        key.mac.hex(),
        base64.b64encode(key.mac).decode(),
        key.sealed,
        f"mutx_{key.prefix}_",
    ):
        assert world.refusal(stored) in {"form", "key-unknown"}


def test_another_servers_pepper_knows_no_key_though_it_has_the_database(world):
    _, text = world.make()
    stolen = world.open(f"a:{SECOND}")

    with pytest.raises(TokenRefused, match="key-unknown"):
        asyncio.run(stolen.principal_of(text))


def test_a_stored_key_of_a_pepper_that_is_gone_is_nobodys(world):
    _, text = world.make()
    later = world.open(f"b:{SECOND}")

    with pytest.raises(TokenRefused, match="key-unknown"):
        asyncio.run(later.principal_of(text))


def test_a_row_whose_pepper_is_unknown_cannot_be_met_by_a_mac_of_no_key(world):
    """Who can write to the database, and does not know the pepper, makes no key."""
    import hmac  # noqa: PLC0415
    from hashlib import sha256  # noqa: PLC0415

    key, text = world.make()
    world.store.put(replace(key, pepper="nobody", mac=hmac.digest(bytes(32), text.encode(), sha256)))

    assert world.refusal(text) == "key-unknown"


def test_a_key_is_over_at_its_end(world):
    _, text = world.make(replace(WISH, lasts=timedelta(hours=1)))
    world.clock.time += 3_599
    world.principal(text)

    world.clock.time += 1

    assert world.refusal(text) == "expired"


def test_a_revoked_key_is_over_at_once(world):
    key, text = world.make()

    asyncio.run(world.desk.revoke(ANN.id, key.id))

    assert world.refusal(text) == "expired"


def test_another_accounts_key_cannot_be_revoked_and_is_as_one_that_never_was(world):
    key, text = world.make()

    for account, which in ((BOB.id, key.id), (ANN.id, UUID(int=7))):
        with pytest.raises(Problem, match="not-found"):
            asyncio.run(world.desk.revoke(account, which))

    world.principal(text)


def test_an_inactive_accounts_key_is_nobodys(world):
    _, text = world.make()
    world.accounts.put(replace(ANN, is_active=False))

    assert world.refusal(text) == "account"


def test_a_key_does_not_follow_its_account_into_another_tenant(world):
    _, text = world.make()
    world.accounts.put(replace(ANN, tenant="globex"))

    assert world.refusal(text) == "account"


def test_the_last_use_is_noted_to_the_minute(world):
    key, text = world.make()

    for _ in range(3):
        world.principal(text)
        world.clock.time += 30

    assert world.store.touches == 2
    assert world.store.by_id[key.id].last_used is not None


def test_a_key_that_is_refused_is_not_noted_as_used(world):
    key, text = world.make()
    asyncio.run(world.desk.revoke(ANN.id, key.id))

    world.refusal(text)

    assert world.store.by_id[key.id].last_used is None


def test_a_prefix_that_is_taken_is_tried_anew(world):
    key, _ = world.make()
    world.clock._bytes = 0  # the same randomness again

    other, _ = world.make()

    assert other.prefix != key.prefix
    assert len(world.store.by_id) == 2


def test_a_key_reaches_no_further_than_the_key_that_made_it(world):
    weak = Principal(ANN.id, "acme", ANN.roles, Method.API_KEY, frozenset({Scope.WRITE}))

    with pytest.raises(Problem, match="scope-missing"):
        world.make(Wish("x", frozenset({Scope.READ, Scope.ADMIN}), timedelta(days=1)), by=weak)


BAD_WISHES = {
    "no scopes": (replace(WISH, scopes=frozenset()), "scopes"),
    "no name": (replace(WISH, name=""), "name"),
    "an endless name": (replace(WISH, name="n" * 65), "name"),
    "a name of two lines": (replace(WISH, name="a\nb"), "name"),
    "no time": (replace(WISH, lasts=timedelta(0)), "lasts"),
    "a time that is over": (replace(WISH, lasts=timedelta(days=-1)), "lasts"),
    "more than a year": (replace(WISH, lasts=timedelta(days=366)), "lasts"),
}


@pytest.mark.parametrize(("wish", "field"), BAD_WISHES.values(), ids=BAD_WISHES.keys())
def test_no_key_is_made_with(world, wish, field):
    with pytest.raises(Problem, match="request-invalid") as refused:
        world.make(wish)

    assert [error["field"] for error in refused.value.errors] == [field]
    assert not world.store.by_id


def test_an_account_has_a_bounded_number_of_keys_and_a_revoked_one_makes_room(world):
    made = [world.make()[0] for _ in range(MOST_KEYS)]

    with pytest.raises(Problem, match="request-invalid"):
        world.make()
    asyncio.run(world.desk.revoke(ANN.id, made[0].id))

    world.make()


def test_a_changed_pepper_and_seal_reach_a_stored_key_whose_text_stays(world):
    key, text = world.make()
    rotated = world.open(f"b:{SECOND},a:{FIRST}")
    assert asyncio.run(rotated.principal_of(text)).key == key.id

    assert asyncio.run(rotated.renew_secrets(key))

    renewed = world.store.by_id[key.id]
    assert renewed.pepper == "b"
    assert asyncio.run(world.open(f"b:{SECOND}").principal_of(text)).key == key.id
    assert not asyncio.run(rotated.renew_secrets(renewed))


def test_a_sealed_copy_of_another_row_renews_nothing(world):
    (key, _), (other, _) = world.make(), world.make()
    rotated = world.open(f"b:{SECOND},a:{FIRST}")

    with pytest.raises(SealBroken):
        asyncio.run(rotated.renew_secrets(replace(key, sealed=other.sealed)))


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32), st.data())
def test_a_key_with_one_character_changed_has_not_the_form(first, second, data):
    parts = iter((first, second))
    text = make_text(lambda _size: next(parts))
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("abcdefgXYZ0123_-. é").filter(lambda each: each != text[at]))

    assert has_form(text)
    assert not has_form(text[:at] + letter + text[at + 1 :])


@given(st.text(max_size=80) | st.from_regex(r"mutx_[a-z0-9]{10}_[0-9A-Za-z]{49}", fullmatch=True))
def test_any_other_text_costs_no_look_up(text):
    class NoStore:
        async def find(self, prefix):
            raise AssertionError(prefix)

    clock = Clock()
    keys = read_secret_keys(f"a:{FIRST}")
    desk = ApiKeyDesk(NoStore(), keys, AesSealer(keys, clock.random_bytes), clock.sources())

    with pytest.raises(TokenRefused, match="form"):
        asyncio.run(desk.principal_of(text))
