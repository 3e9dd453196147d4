"""Accounts and set-up links, as identity uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from mutx_control_plane.identity.ports import Account, Accounts, SetupLink, SetupLinks
from mutx_control_plane.principal import PLATFORM, SSOTokenUser
from mutx_control_plane.roles import Role
from mutx_control_plane.store import accounts, audit, tenants
from mutx_control_plane.store.accounts import StoredAccounts, StoredSetupLinks
from mutx_control_plane.store.event import Origin
from mutx_control_plane.store.paging import Ask
from mutx_service.problem import Problem
from store_world import ANN, BOB, GUS, NOW, World

LINK, LATER = b"l" * 32, NOW + timedelta(hours=1)
EVE = SSOTokenUser("https://idp.example", "eve", "acme", frozenset({Role.DEVELOPER}), "eve@acme.example")
FRESH = UUID(int=77)

_Result = TypeVar("_Result")


def now(work: Coroutine[Any, Any, _Result]) -> _Result:
    return asyncio.run(work)


@pytest.fixture
def stored(world: World) -> Accounts:
    return StoredAccounts(world.database, lambda: Origin("anonymous", "192.0.2.1"), uuid4)


@pytest.fixture
def links(world: World) -> SetupLinks:
    return StoredSetupLinks(world.database, lambda: Origin("anonymous", "192.0.2.1"))


@pytest.fixture
def fresh(world: World) -> Account:
    """An account that has no password yet."""
    account = Account(FRESH, "acme", "new@acme.example", frozenset({Role.VIEWER}))
    world.write(lambda change: accounts.create(change, account, NOW))
    return account


def recorded(world: World, tenant: str = "acme") -> list[tuple[str, str]]:
    rows = world.read(lambda connection: audit.page(connection, audit.Filter(), Ask(200)).rows, tenant)
    return [(row.origin.actor, row.event.action) for row in rows]


def test_an_account_is_found_by_its_id_whatever_its_tenant(stored: Accounts) -> None:
    found = [now(stored.find(account)) for account in (ANN, GUS, uuid4())]

    assert [each and (each.tenant, each.roles) for each in found] == [
        ("acme", frozenset({Role.ADMIN})), ("globex", frozenset({Role.DEVELOPER})), None
    ]  # fmt: skip


def test_a_local_account_is_found_by_its_address_and_one_without_a_password_is_not(
    stored: Accounts, fresh: Account
) -> None:
    assert now(stored.find_local("p1@acme.example")).id == ANN
    assert now(stored.find_local(fresh.email)) is None
    assert now(stored.find_local("")) is None


def test_a_providers_person_has_one_account_whose_roles_follow_the_token(
    world: World, stored: Accounts
) -> None:
    first = now(stored.ensure_sso(EVE, NOW))
    again = now(stored.ensure_sso(EVE, NOW))
    promoted = now(stored.ensure_sso(replace(EVE, roles=frozenset({Role.ADMIN}), email=""), NOW))

    assert first == again
    assert promoted == replace(first, roles=frozenset({Role.ADMIN}))
    assert now(stored.find(first.id)) == promoted
    assert recorded(world)[:2] == [
        (f"user:{first.id}", "account.changed"),
        (f"user:{first.id}", "account.created"),
    ]


def test_a_provider_that_tells_an_address_of_another_account_does_not_get_that_account(
    stored: Accounts,
) -> None:
    impostor = now(stored.ensure_sso(replace(EVE, email="p1@acme.example"), NOW))

    assert impostor.id != ANN
    assert impostor.roles == frozenset({Role.DEVELOPER})
    assert now(stored.find_local("p1@acme.example")).id == ANN


@pytest.mark.parametrize(
    "changed", [{"issuer": "https://other.example"}, {"subject": "eve2"}, {"tenant": "globex"}], ids=str
)
def test_another_issuer_subject_or_tenant_is_another_account(
    stored: Accounts, changed: dict[str, str]
) -> None:
    first = now(stored.ensure_sso(EVE, NOW))

    other = now(stored.ensure_sso(replace(EVE, **changed), NOW))

    assert first.id != other.id


def test_a_person_who_signs_in_ten_times_at_once_has_one_account(stored: Accounts) -> None:
    async def ten() -> list[Account]:
        return await asyncio.gather(*(stored.ensure_sso(EVE, NOW) for _ in range(10)))

    assert len({account.id for account in now(ten())}) == 1


def test_an_inactive_account_stays_as_it_is(world: World, stored: Accounts) -> None:
    eve = now(stored.ensure_sso(EVE, NOW))
    world.write(lambda change: accounts.update(change, eve.id, roles=eve.roles, is_active=False))

    found = now(stored.ensure_sso(replace(EVE, roles=frozenset({Role.ADMIN})), NOW))

    assert (found.is_active, found.roles) == (False, eve.roles)


def test_nobody_of_a_tenant_that_is_not_active_is(world: World, stored: Accounts) -> None:
    world.write(lambda change: tenants.set_active(change, "acme", is_active=False), PLATFORM)

    active = [now(stored.find(account)).is_active for account in (ANN, GUS)]

    assert active == [False, True]


def test_a_tenant_that_is_not_known_lets_nobody_in(stored: Accounts) -> None:
    with pytest.raises(Problem) as refused:
        now(stored.ensure_sso(replace(EVE, tenant="nowhere"), NOW))

    assert refused.value.code == "sign-in-failed"


def test_a_hash_is_replaced_only_where_the_old_one_is(stored: Accounts) -> None:
    replaced = [
        now(stored.replace_password_hash(ANN, old, new))
        for old, new in (("another", "x"), ("argon2-of-it", "new"), ("argon2-of-it", "newer"))
    ]

    assert replaced == [False, True, False]
    assert now(stored.find(ANN)).password_hash == "new"
    assert now(stored.replace_password_hash(uuid4(), "", "x")) is False


def test_a_link_sets_the_password_once(
    world: World, stored: Accounts, links: SetupLinks, fresh: Account
) -> None:
    now(links.put(SetupLink(LINK, FRESH, LATER)))
    seen = now(links.find(LINK, NOW))

    used = [now(links.use(LINK, "hash", NOW)), now(links.use(LINK, "other", NOW))]

    assert seen == fresh
    assert used == [True, False]
    assert now(links.find(LINK, NOW)) is None
    assert now(stored.find_local(fresh.email)).password_hash == "hash"
    assert recorded(world)[0] == (f"user:{FRESH}", "password.set")


def test_of_ten_who_use_a_link_at_once_one_does(links: SetupLinks, fresh: Account) -> None:
    now(links.put(SetupLink(LINK, FRESH, LATER)))

    async def ten() -> list[bool]:
        return await asyncio.gather(*(links.use(LINK, f"hash-{number}", NOW) for number in range(10)))

    assert sorted(now(ten())) == [False] * 9 + [True]


def test_a_link_that_expired_or_was_replaced_or_is_unknown_is_void(links: SetupLinks, fresh: Account) -> None:
    now(links.put(SetupLink(LINK, FRESH, LATER)))
    late = now(links.use(LINK, "hash", LATER))
    now(links.put(SetupLink(b"n" * 32, FRESH, LATER)))

    assert (late, now(links.use(LINK, "hash", NOW)), now(links.use(b"u" * 32, "hash", NOW))) == (False,) * 3
    assert now(links.find(LINK, NOW)) is None
    assert now(links.find(b"n" * 32, NOW)) == fresh


def test_a_link_of_an_inactive_account_is_void(world: World, links: SetupLinks, fresh: Account) -> None:
    now(links.put(SetupLink(LINK, FRESH, LATER)))
    world.write(lambda change: accounts.update(change, FRESH, roles=fresh.roles, is_active=False))

    assert now(links.find(LINK, NOW)) is None
    assert now(links.use(LINK, "hash", NOW)) is False


def test_a_link_for_nobody_is_refused(links: SetupLinks) -> None:
    with pytest.raises(Problem, match="not-found"):
        now(links.put(SetupLink(LINK, uuid4(), LATER)))


def test_an_address_signs_in_to_one_account_only(world: World, links: SetupLinks) -> None:
    twin = Account(FRESH, "globex", "p2@acme.example", frozenset())
    world.write(lambda change: accounts.create(change, twin, NOW), "globex")
    now(links.put(SetupLink(LINK, FRESH, LATER)))

    with pytest.raises(Problem) as refused:
        now(links.use(LINK, "hash", NOW))

    assert refused.value.code == "name-taken"
    assert now(links.find(LINK, NOW)) == twin


def test_an_administrator_sees_and_changes_their_own_tenants_accounts_alone(world: World) -> None:
    seen = world.read(lambda connection: accounts.page(connection, Ask()).rows)
    changed = world.write(lambda change: accounts.update(change, BOB, roles=[Role.VIEWER], is_active=True))

    with pytest.raises(Problem) as refused:
        world.write(lambda change: accounts.update(change, GUS, roles=[Role.ADMIN], is_active=True))

    assert {account.tenant for account in seen} == {"acme"}
    assert changed.roles == frozenset({Role.VIEWER})
    assert refused.value.code == "not-found"


def test_tenants_are_made_and_listed_by_the_platform_alone(world: World) -> None:
    world.write(lambda change: tenants.create(change, "initech", NOW), PLATFORM)

    seen = {place: [each.id for each in world.read(tenants.every, place)] for place in (PLATFORM, "acme")}

    assert seen == {PLATFORM: ["acme", "globex", "initech", "platform"], "acme": ["acme"]}


@pytest.mark.parametrize(
    ("name", "code"), [("acme", "name-taken"), ("Not A Label", "request-invalid"), ("", "request-invalid")]
)
def test_a_tenant_needs_a_name_of_its_own(world: World, name: str, code: str) -> None:
    with pytest.raises(Problem) as refused:
        world.write(lambda change: tenants.create(change, name, NOW), PLATFORM)

    assert refused.value.code == code


def test_the_platform_cannot_lock_itself_out(world: World) -> None:
    with pytest.raises(Problem) as refused:
        world.write(lambda change: tenants.set_active(change, PLATFORM, is_active=False), PLATFORM)

    assert refused.value.code == "request-invalid"


def test_a_tenant_does_not_let_itself_in_again(world: World) -> None:
    world.write(lambda change: tenants.set_active(change, "acme", is_active=False), PLATFORM)

    with pytest.raises(Problem) as refused:
        world.write(lambda change: tenants.set_active(change, "acme", is_active=True))

    assert refused.value.code == "not-found"
    assert [each.is_active for each in world.read(tenants.every)] == [False]


def test_an_address_that_is_not_folded_is_refused(world: World) -> None:
    account = Account(FRESH, "acme", "New@acme.example", frozenset())

    with pytest.raises(Problem) as refused:
        world.write(lambda change: accounts.create(change, account, NOW))

    assert refused.value.code == "request-invalid"
